"""Statistics of an utterance's contours: the named columns of the acoustic encoder.

Every group is a function from `Contours` to `{name: scalar or vector}`; GROUPS is their order.
Apart from `level`, no number here changes when the sound is made louder or quieter.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from .acoustic_frames import MFCCS, QUALITY, SPECTRAL, Contours
from .acoustic_statistics import (
    FRAME_RATE,
    Named,
    delta,
    is_long,
    mean,
    movement,
    quantile,
    run_lengths,
    spread_of,
    std,
    trend,
)

MODULATION_HZ = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # edges of octave bands
MODULATION_GROUPS = 8  # the mel bands are averaged into this many before the second transform


def timbre(c: Contours) -> Named:
    """Cepstra: which sounds, and with which voice; their spread and speed is articulation effort.

    The mean over voiced frames is the voice's colour, free of fricatives and pauses.
    """
    speed = delta(c.mfcc)
    out = spread_of("mfcc", c.mfcc, c.active)
    out["mfcc_voiced_mean"] = mean(c.mfcc, c.voiced)
    out["mfcc_delta_std"] = std(speed, c.active)
    return out


def long_term_spectrum(c: Contours) -> Named:
    """Long-term average spectrum and its loud end, the classic picture of vocal effort."""
    level = c.log_mel - c.log_mel.mean(1, keepdim=True)
    return {
        "mel_mean": mean(level, c.voiced),
        "mel_p90": quantile(c.log_mel, c.active, 0.9),
        "mel_std": std(c.log_mel, c.active),
    }


def spectral_shape(c: Contours) -> Named:
    """Tilt, balance and movement of the spectrum, voiced frames apart as in eGeMAPS."""
    out = spread_of("spectral", c.spectral, c.voiced)
    out["spectral_all_mean"] = mean(c.spectral, c.active)
    out["spectral_unvoiced_mean"] = mean(c.spectral, c.active & ~c.voiced)
    out["spectral_change"] = mean(delta(c.spectral).abs(), c.active)
    return out


def voice_quality(c: Contours) -> Named:
    """Breathy, tense or rough: periodicity, harmonic differences, and jitter and shimmer.

    Jitter and shimmer are taken between frames, not between glottal cycles: second differences
    cancel the intended movement of pitch and loudness and leave the unsteadiness.
    """
    out = spread_of("voice", c.quality, c.voiced)
    both = c.voiced[2:] & c.voiced[1:-1] & c.voiced[:-2]
    period = 1 / c.f0
    bend = (period[2:] - 2 * period[1:-1] + period[:-2]).abs() / period[1:-1]
    step = (c.loudness[2:] - 2 * c.loudness[1:-1] + c.loudness[:-2]).abs()
    unsteady = torch.stack([bend.clamp_max(0.5), step], 1)
    out["jitter_shimmer_mean"] = mean(unsteady, both)
    out["jitter_shimmer_p90"] = quantile(unsteady, both, 0.9)
    return out


def intonation(c: Contours) -> Named:
    """Height, range and movement of pitch in semitones, the strongest single cue of arousal."""
    tone = (12 * (c.f0 / 27.5).log2())[:, None]  # (T, 1); 27.5 Hz as in eGeMAPS
    out = spread_of("f0", tone, c.voiced)
    low, high = out["f0_p10"], out["f0_p90"]
    out["f0_range"] = high - low
    out["f0_skew"] = (high + low - 2 * quantile(tone, c.voiced, 0.5)) / (high - low + 1)
    out["f0_hertz"] = mean(c.f0[:, None], c.voiced)
    step = pad(tone[1:] - tone[:-1], (0, 0, 1, 0)).clamp(-3, 3)
    joined = c.voiced & pad(c.voiced[:-1], (1, 0))
    out |= movement("f0", step, joined)
    out["f0_trend"] = trend(tone[:, 0], c.voiced)
    return out


def dynamics(c: Contours) -> Named:
    """How loudness moves within the utterance (its absolute height is in `level`)."""
    contour = c.loudness[:, None]
    out = spread_of("loudness", contour, c.active)
    out["loudness_voiced"] = mean(contour, c.voiced)
    out["loudness_range"] = out["loudness_p90"] - out["loudness_p10"]
    out |= movement("loudness", delta(contour), c.active)
    out["loudness_trend"] = trend(c.loudness, c.active)
    return out


def coupling(c: Contours) -> Named:
    """How pitch, loudness, brightness and voice move together, and how they unfold.

    Correlations over voiced frames: effort raises all at once, a sigh or a tense whisper breaks the
    link. Thirds are the voiced means of pitch and loudness at the start, the middle and
    the end, relative to the whole.
    """
    tone = 12 * (c.f0 / 27.5).log2()
    parts = {
        "f0": tone,
        "loudness": c.loudness,
        "centroid": c.spectral[:, SPECTRAL.index("centroid")],
        "alpha": c.spectral[:, SPECTRAL.index("alpha_ratio")],
        "hnr": c.quality[:, QUALITY.index("hnr")],
        "cpp": c.quality[:, QUALITY.index("cpp")],
    }
    names = [f"coupling_{a}_{b}" for a, b in itertools.combinations(parts, 2)]
    rows, columns = torch.triu_indices(len(parts), len(parts), 1)
    contours = torch.stack(list(parts.values()), 1)  # (T, 6)
    out = {name: contours.new_zeros(1) for name in names}
    if int(c.voiced.sum()) >= 5:
        away = contours[c.voiced] - mean(contours, c.voiced)
        away = away / (std(contours, c.voiced) + 1e-3)
        shared = (away.T @ away / len(away))[rows, columns]
        out = dict(zip(names, shared.split(1), strict=True))
    third = torch.arange(len(tone)) * 3 // len(tone)
    whole = mean(contours[:, :2], c.voiced)
    steps = [c.voiced & (third == i) for i in range(3)]
    moved = [mean(contours[:, :2], s) - whole if bool(s.any()) else 0 * whole for s in steps]
    out["f0_third"], out["loudness_third"] = torch.stack(moved, 1)
    return out


def modulation(c: Contours) -> Named:
    """Modulation spectrum: how fast the energy of each frequency region comes and goes.

    Speech peaks at the syllable rate, 4 Hz; excitement and sadness move that peak (Wu, Falk & Chan
    2011, https://doi.org/10.1016/j.specom.2010.08.013). In dB of the region's whole modulation.
    """
    bands = torch.stack([part.mean(1) for part in c.log_mel.chunk(MODULATION_GROUPS, 1)], 1)
    bands = bands - bands.mean(0)
    size = 2 ** max(9, math.ceil(math.log2(len(bands))))
    parts = bands.split(1, 1) if is_long(bands) else [bands]
    power = torch.cat([torch.fft.rfft(b, n=size, dim=0).abs().square()[1:] for b in parts], 1)
    hertz = torch.arange(1, len(power) + 1) * FRAME_RATE / size
    whole = power.sum(0) + 1e-6
    out = {}
    for low, high in itertools.pairwise(MODULATION_HZ):
        share = power[(hertz >= low) & (hertz < high)].sum(0) / whole
        out[f"modulation_{low:g}_{high:g}hz"] = 10 * (share + 1e-3).log10()
    return out


def rhythm(c: Contours) -> Named:
    """Speaking rate and pausing, from runs of voiced and of silent frames and loudness peaks."""
    runs = run_lengths(c.voiced)
    pauses = run_lengths(~c.active)
    pauses = pauses[pauses >= 0.05]  # shorter ones are the closures of stop consonants
    smooth = pad(c.loudness[None, None], (3, 3), mode="replicate")[0, 0].unfold(0, 7, 1).mean(1)
    peak = (smooth[1:-1] > smooth[:-2]) & (smooth[1:-1] >= smooth[2:]) & (smooth[1:-1] > -10)
    values = {
        "log_seconds": math.log(c.seconds),
        "voiced_share": float(c.voiced.float().mean()),
        "voiced_per_second": len(runs) / c.seconds,
        "voiced_seconds_mean": float(runs.mean()) if len(runs) else 0.0,
        "voiced_seconds_std": float(runs.std(correction=0)) if len(runs) else 0.0,
        "pause_share": float(pauses.sum()) / c.seconds,
        "pause_per_second": len(pauses) / c.seconds,
        "pause_seconds_mean": float(pauses.mean()) if len(pauses) else 0.0,
        "peaks_per_second": float(peak.sum()) / c.seconds,
    }
    return {name: torch.tensor([value]) for name, value in values.items()}


def level(c: Contours) -> Named:
    """The only numbers that know the gain: dB full scale, so one recorder is one constant shift."""
    return {"level": c.level}


GROUPS = (
    timbre,
    long_term_spectrum,
    spectral_shape,
    voice_quality,
    intonation,
    dynamics,
    coupling,
    modulation,
    rhythm,
    level,
)


def summarise(contours: Contours) -> Tensor:
    """Returns the values (D,) of all groups."""
    groups = [group(contours) for group in GROUPS]
    return torch.cat([value for group in groups for value in group.values()]).float()


def column_names_of(contours: Contours) -> list[str]:
    """Returns the D column names in the order of `summarise`; they are the same for every sound."""
    groups = [group(contours) for group in GROUPS]
    sizes = [(name, len(value)) for group in groups for name, value in group.items()]
    return [column for name, size in sizes for column in column_names(name, size)]


def column_names(name: str, size: int) -> list[str]:
    """Returns one name a column: known parts by name ("voice_hnr_p10"), bands by number."""
    family, _, statistic = name.partition("_")
    known = {
        "spectral": SPECTRAL,
        "voice": QUALITY,
        "mfcc": [str(i + 1) for i in range(MFCCS)],
        "level": ("mean", "peak", "floor"),
    }.get(family)
    if name.startswith("jitter_shimmer"):
        return [f"{part}_{name.rpartition('_')[2]}" for part in ("jitter", "shimmer")]
    if known and len(known) == size:
        return [f"{family}_{part}" + (f"_{statistic}" if statistic else "") for part in known]
    return [name] if size == 1 else [f"{name}_{i}" for i in range(size)]
