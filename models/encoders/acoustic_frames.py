"""Frame-by-frame measurements of speech: spectrum, pitch, voicing and voice quality every 10 ms.

Letters: S samples, T frames, K bands or bins. All sounds are 16 kHz mono; nothing here is learned.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from .acoustic_pitch import (
    F0_MAX,
    F0_MIN,
    FFT_LONG,
    VOICED,
    Candidates,
    candidates,
    choose,
    register,
    within,
    without_jumps,
)
from .acoustic_windows import BLOCK_FRAMES, HOP, Windows
from .base import SAMPLE_RATE

FFT_SHORT = 512
MEL_BANDS, MFCCS = 26, 16
ACTIVE_DB = 35.0  # a frame this far below the loudest one is a pause
SILENCE_RMS = 1e-5  # -100 dBFS, below 16-bit quantisation: sound under it is not amplified
FLOOR = 1e-6  # of the mean power; keeps the noise floor of a recording out of the logarithms


@dataclass
class Contours:
    """What is known of every frame of an utterance, from its first to its last active frame."""

    active: Tensor  # (T,) bool, speech rather than a pause
    voiced: Tensor  # (T,) bool, active and periodic
    log_mel: Tensor  # (T, MEL_BANDS) dB
    mfcc: Tensor  # (T, MFCCS) cepstral coefficients 1..MFCCS
    loudness: Tensor  # (T,) dB relative to the utterance's own mean power
    spectral: Tensor  # (T, len(SPECTRAL)) shape of the short spectrum
    f0: Tensor  # (T,) Hz; meaningful where voiced
    quality: Tensor  # (T, len(QUALITY)) periodicity and source measures
    level: Tensor  # (3,) dB full scale: active mean, loudest frame, quiet decile

    @property
    def seconds(self) -> float:
        """Time between the first and the last active frame."""
        return len(self.active) * HOP / SAMPLE_RATE


SPECTRAL = (
    "centroid",
    "spread",
    "skewness",
    "rolloff50",
    "rolloff85",
    "slope0_500",
    "slope500_1500",
    "alpha_ratio",
    "hammarberg",
    "low_band",
    "mid_band",
    "high_band",
    "flatness",
    "flux",
)
QUALITY = ("periodicity", "hnr", "cpp", "h1_h2", "h1_a1", "h1_a3")


def measure(sound: Any) -> Contours:
    """Returns the contours of one sound, (S,) float32 at 16 kHz; silence has a single frame.

    `sound` is a tensor, or anything whose slices are samples. It is read half a minute at a time,
    but the loudest frame, the mean power and the register of the voice are those of the whole.
    """
    windows = Windows(sound)
    power = torch.empty(len(windows))  # (T,)
    for at, short, _ in windows.blocks(0, len(windows)):
        power[at] = short.square().mean(1)
    active = power > power.max() * 10 ** (-ACTIVE_DB / 10)
    # Silence before and after is no property of the speech: only the span between counts.
    where = active.nonzero()[:, 0]
    first, last = (int(where[0]), int(where[-1]) + 1) if len(where) else (0, 1)
    active, power = active[first:last], power[first:last]
    mean_power = power[active].mean() if len(where) else power.mean()
    level = torch.stack([mean_power, power.max(), torch.quantile(power, 0.1)])
    level = 10 * level.clamp_min(SILENCE_RMS**2).log10()
    # The sound is brought to unit power, so `level` knows the gain and nothing else does.
    gain = mean_power.clamp_min(SILENCE_RMS**2).rsqrt()
    contours = _empty(last - first, active, level)
    one_block = last - 1 - first // BLOCK_FRAMES * BLOCK_FRAMES < BLOCK_FRAMES
    kept, before = None, None
    for at, short, long in windows.blocks(first, last):
        before = _fill_spectral(contours, at, short * gain, before)
        kept = _harmonics(long * gain)
        contours.f0[at], contours.quality[at, 0] = choose(kept[1])
    voice = register(contours.f0, contours.quality[:, 0], active)
    for at, _, long in windows.blocks(first, last):
        harmonic, found = kept if one_block and kept else _harmonics(long * gain)
        f0, strength = choose(found, within(found.period, *voice) if voice else None)
        contours.f0[at], contours.quality[at] = f0, _voice_quality(harmonic, f0, strength)
    contours.voiced = active & _majority(contours.quality[:, 0] > VOICED)
    contours.f0 = without_jumps(contours.f0, contours.voiced)
    return contours


def _fill_spectral(contours: Contours, at: slice, short: Tensor, before: Tensor | None) -> Tensor:
    """Writes what short windows (t, SHORT) say; returns the last spectrum (1, 257)."""
    spectrum = _power_spectrum(short, FFT_SHORT)  # (t, 257)
    contours.log_mel[at] = 10 * (spectrum @ mel_filters() + FLOOR).log10()
    contours.mfcc[at] = contours.log_mel[at] @ cosines()
    contours.loudness[at] = 10 * (spectrum.sum(1) + FLOOR).log10()
    contours.spectral[at] = _spectral_shape(spectrum, before)
    return spectrum[-1:].clone()


def _harmonics(long: Tensor) -> tuple[Tensor, Candidates]:
    """Returns the power spectra (t, 513) of long windows (t, LONG) and what they say of pitch."""
    harmonic = _power_spectrum(long, FFT_LONG)
    return harmonic, candidates(harmonic)


def _empty(frames: int, active: Tensor, level: Tensor) -> Contours:
    """Returns contours that are yet to be filled, block by block."""
    return Contours(
        active=active,
        voiced=torch.zeros_like(active),
        log_mel=torch.empty(frames, MEL_BANDS),
        mfcc=torch.empty(frames, MFCCS),
        loudness=torch.empty(frames),
        spectral=torch.empty(frames, len(SPECTRAL)),
        f0=torch.empty(frames),
        quality=torch.empty(frames, len(QUALITY)),
        level=level,
    )


def _voice_quality(harmonic: Tensor, f0: Tensor, strength: Tensor) -> Tensor:
    """Returns (T, len(QUALITY)): how periodic the voice is and how its harmonics fall off.

    Harmonics-to-noise ratio and the harmonic differences H1-H2 and H1-A3 are eGeMAPS measures of
    breathiness and tension (Eyben 2016, https://doi.org/10.1109/TAFFC.2015.2457417); cepstral peak
    prominence (Hillenbrand 1994) is the most robust measure of breathiness in connected speech.
    """
    ratio = strength.clamp(1e-3, 1 - 1e-3)
    hnr = 10 * (ratio / (1 - ratio)).log10()
    decibel = 10 * (harmonic + FLOOR / 100).log10()  # (T, 513)
    low, high = int(SAMPLE_RATE / F0_MAX), int(SAMPLE_RATE / F0_MIN) + 1
    cepstrum = torch.fft.irfft(decibel, n=FFT_LONG)[:, low:high]  # (T, lags)
    axis = torch.linspace(-1, 1, high - low)
    slope = (cepstrum * axis).sum(1) / axis.square().sum()
    line = cepstrum.mean(1, keepdim=True) + slope[:, None] * axis
    cpp = (cepstrum - line).amax(1)

    step = SAMPLE_RATE / FFT_LONG

    def harmonic_height(multiple: float) -> Tensor:
        centre = (f0 * multiple / step).round().long().clamp(1, FFT_LONG // 2 - 1)
        near = centre[:, None] + torch.arange(-1, 2)
        return decibel.gather(1, near).amax(1)

    first = harmonic_height(1.0)
    a1 = decibel[:, int(300 / step) : int(1000 / step)].amax(1)
    a3 = decibel[:, int(2000 / step) : int(3500 / step)].amax(1)
    second = harmonic_height(2.0)
    return torch.stack([strength, hnr, cpp, first - second, first - a1, first - a3], 1)


def _spectral_shape(spectrum: Tensor, before: Tensor | None) -> Tensor:
    """Returns (T, len(SPECTRAL)): moments, tilt and movement of power spectra (T, 257).

    `before` (1, 257) is the frame that goes before the first, None where there is none.

    Alpha ratio, Hammarberg index, slopes and flux as in eGeMAPS (Eyben 2016): vocal effort lifts
    the part above 1 kHz, so they separate high from low arousal whatever the level.
    """
    hertz = torch.linspace(0, SAMPLE_RATE / 2, spectrum.shape[1])
    spectrum = spectrum + FLOOR / spectrum.shape[1]
    share = spectrum / spectrum.sum(1, keepdim=True)
    # Perceptual (square root) weights: raw power sees little beyond the first formant.
    soft = spectrum.sqrt() / spectrum.sqrt().sum(1, keepdim=True)
    kilo = hertz / 1000
    centroid = soft @ kilo
    away = kilo - centroid[:, None]
    spread = (soft * away.square()).sum(1).sqrt()
    skewness = (soft * away**3).sum(1) / spread.clamp_min(1e-3) ** 3
    flux = pad((soft[1:] - soft[:-1]).square().sum(1).sqrt(), (1, 0))
    if before is not None:
        was = (before + FLOOR / spectrum.shape[1]).sqrt()
        flux[0] = (soft[0] - was[0] / was.sum()).square().sum().sqrt()
    rising = soft.cumsum(1)
    rolloff = [(rising < q).sum(1) * float(kilo[1]) for q in (0.5, 0.85)]
    decibel = 10 * spectrum.log10()

    def band(low: float, high: float) -> slice:
        return slice(math.ceil(low / float(hertz[1])), math.ceil(high / float(hertz[1])))

    def slope(low: float, high: float) -> Tensor:
        axis = kilo[band(low, high)]
        axis = axis - axis.mean()
        return (decibel[:, band(low, high)] * axis).sum(1) / axis.square().sum()

    def energy(low: float, high: float) -> Tensor:
        return 10 * share[:, band(low, high)].sum(1).log10()

    high_peak = decibel[:, band(2000, 5000)].amax(1)
    columns = [
        centroid,
        spread,
        skewness,
        *rolloff,
        slope(0, 500),
        slope(500, 1500),
        energy(50, 1000) - energy(1000, 5000),
        decibel[:, band(0, 2000)].amax(1) - high_peak,
        energy(250, 650),
        energy(1000, 4000),
        energy(4000, 8000),
        decibel.mean(1) - 10 * spectrum.mean(1).log10(),
        flux,
    ]
    return torch.stack(columns, 1)


def _power_spectrum(frames: Tensor, size: int) -> Tensor:
    """Returns Hann-windowed power spectra (T, size // 2 + 1) whose sum is the mean square."""
    window = torch.hann_window(frames.shape[1], periodic=False)
    scale = 2 / (size * float(window.square().sum()))
    spectrum = torch.view_as_real(torch.fft.rfft(frames * window, n=size))
    return spectrum.square().sum(-1) * scale


def _majority(where: Tensor) -> Tensor:
    """Returns (T,) bool after a vote of each frame with its two neighbours."""
    votes = where.int()
    return votes + pad(votes[1:], (0, 1)) + pad(votes[:-1], (1, 0)) >= 2


@functools.lru_cache(maxsize=1)
def mel_filters() -> Tensor:
    """Returns triangular mel filters (257, MEL_BANDS) between 50 Hz and 7.8 kHz."""
    low, high = (1127 * math.log1p(f / 700) for f in (50.0, 7800.0))
    edges = 700 * (torch.linspace(low, high, MEL_BANDS + 2, dtype=torch.float64) / 1127).expm1()
    hertz = torch.linspace(0, SAMPLE_RATE / 2, FFT_SHORT // 2 + 1, dtype=torch.float64)[:, None]
    up = (hertz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    down = (edges[2:] - hertz) / (edges[2:] - edges[1:-1])
    return torch.minimum(up, down).clamp_min(0).float()


@functools.lru_cache(maxsize=1)
def cosines() -> Tensor:
    """Returns the orthonormal DCT (MEL_BANDS, MFCCS) without coefficient 0, which is level."""
    band = torch.arange(MEL_BANDS, dtype=torch.float64)[:, None] + 0.5
    order = torch.arange(1, MFCCS + 1, dtype=torch.float64)
    return ((math.pi / MEL_BANDS * band * order).cos() * math.sqrt(2 / MEL_BANDS)).float()
