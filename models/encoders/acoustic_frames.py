"""Frame-by-frame measurements of speech: spectrum, pitch, voicing and voice quality every 10 ms.

Letters: S samples, T frames, K bands or bins. All sounds are 16 kHz mono; nothing here is learned.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

SAMPLE_RATE = 16_000
HOP = 160  # 10 ms, the frame step of openSMILE, Kaldi and most of the literature
SHORT = 400  # 25 ms: resolves the envelope of the spectrum, blurs its harmonics
LONG = 720  # 45 ms: about three periods of the lowest pitch, what autocorrelation needs
FFT_SHORT, FFT_LONG = 512, 1024  # FFT_LONG >= LONG + the longest lag: no circular overlap
MEL_BANDS, MFCCS = 26, 16
F0_MIN, F0_MAX = 60.0, 600.0  # Hz; emotional speech goes far above the usual 400 Hz
ACTIVE_DB = 35.0  # a frame this far below the loudest one is a pause
VOICED = 0.5  # normalised autocorrelation at the pitch lag above which a frame counts as voiced
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


def measure(samples: Tensor) -> Contours:
    """Returns the contours of one sound, (S,) float32 at 16 kHz; silence has a single frame."""
    sound = _without_drift(_without_padding(samples))
    sound = pad(sound, (0, max(0, LONG - len(sound))))
    # Only windows that lie wholly inside the sound: one that hangs over the edge of a file cut out
    # of running speech sees a click there. Both kinds of window have the same centres.
    edge = (LONG - SHORT) // 2
    short = sound[edge : len(sound) - edge].unfold(0, SHORT, HOP)  # (T, SHORT)
    power = short.square().mean(1)  # (T,)
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
    short = short[first:last] * gain
    long = sound.unfold(0, LONG, HOP)[first:last] * gain

    spectrum = _power_spectrum(short, FFT_SHORT)  # (T, 257)
    log_mel = 10 * (spectrum @ mel_filters() + FLOOR).log10()  # (T, MEL_BANDS)
    mfcc = log_mel @ cosines()  # (T, MFCCS)
    loudness = 10 * (spectrum.sum(1) + FLOOR).log10()
    harmonic = _power_spectrum(long, FFT_LONG)  # (T, 513)
    f0, strength = pitch(harmonic, active)
    voiced = active & _majority(strength > VOICED)
    return Contours(
        active=active,
        voiced=voiced,
        log_mel=log_mel,
        mfcc=mfcc,
        loudness=loudness,
        spectral=_spectral_shape(spectrum),
        f0=_without_jumps(f0, voiced),
        quality=_voice_quality(harmonic, f0, strength),
        level=level,
    )


def pitch(harmonic: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
    """Returns f0 in Hz and the periodicity in [0, 1], both (T,), from power spectra (T, 513).

    The autocorrelation of the windowed frame divided by that of the window (Boersma 1993,
    https://www.fon.hum.uva.nl/paul/papers/Proceedings_1993.pdf). Octave errors are fought as in
    De Looze & Hirst 2008: a first pass over the whole range finds the speaker's register, a second
    one searches only there. Both passes are vectorised over frames, unlike a Viterbi search.
    """
    # Twice the samples of the lag axis: the peaks of a high voice are narrower than one sample.
    lags = torch.fft.irfft(harmonic, n=2 * FFT_LONG)  # (T, 2048)
    low, high = int(2 * SAMPLE_RATE / F0_MAX), int(2 * SAMPLE_RATE / F0_MIN) + 1
    lags = lags[:, : high + 2] / lags[:, :1].clamp_min(1e-12)
    lags = lags / window_autocorrelation()[: high + 2]
    here = lags[:, low : high + 1]  # (T, lags)
    before, after = lags[:, low - 1 : high], lags[:, low + 1 : high + 2]
    peak = (here >= before) & (here > after)
    period = torch.arange(low, high + 1, dtype=lags.dtype) / 2
    # Multiples of the true period correlate as well; a small cost per octave prefers the shortest.
    score = torch.where(peak, here - 0.02 * (period * F0_MAX / SAMPLE_RATE).log2(), -1.0)

    def choose(allowed: Tensor) -> tuple[Tensor, Tensor]:
        index = torch.where(allowed, score, -1.0).argmax(1, keepdim=True)  # (T, 1)
        left, mid, right = (a.gather(1, index)[:, 0] for a in (before, here, after))
        bend = (left - 2 * mid + right).clamp_max(-1e-9)
        shift = (0.5 * (left - right) / bend).clamp(-0.5, 0.5)
        height = mid - 0.25 * (left - right) * shift
        found = (peak & allowed).gather(1, index)[:, 0]
        f0 = SAMPLE_RATE / (period[index[:, 0]] + shift / 2)
        return f0, torch.where(found, height, 0.0).clamp(0.0, 1.0)

    f0, strength = choose(torch.ones_like(period, dtype=torch.bool).expand_as(peak))
    sure = active & (strength > VOICED)
    if int(sure.sum()) >= 5:
        lower, upper = torch.quantile(f0[sure], torch.tensor([0.25, 0.75])).tolist()
        allowed = (period >= SAMPLE_RATE / (1.8 * upper)) & (period <= SAMPLE_RATE / (0.7 * lower))
        f0, strength = choose(allowed.expand_as(peak))
    return f0, strength


def _without_jumps(f0: Tensor, voiced: Tensor) -> Tensor:
    """Returns f0 with isolated octave errors replaced by the median of five voiced neighbours."""
    values = f0[voiced]
    if len(values) < 5:
        return f0
    middle = pad(values[None], (2, 2), mode="replicate")[0].unfold(0, 5, 1).median(1).values
    f0 = f0.clone()
    f0[voiced] = torch.where((values / middle).log2().abs() > 0.3, middle, values)
    return f0


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


def _spectral_shape(spectrum: Tensor) -> Tensor:
    """Returns (T, len(SPECTRAL)): moments, tilt and movement of power spectra (T, 257).

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
        pad((soft[1:] - soft[:-1]).square().sum(1).sqrt(), (1, 0)),
    ]
    return torch.stack(columns, 1)


def _without_padding(samples: Tensor) -> Tensor:
    """Returns the sound from its first to its last sample that is not exactly zero.

    So zeros that a collator or a cutting tool put around the speech change nothing at all.
    """
    where = samples.nonzero()[:, 0]
    return samples[int(where[0]) : int(where[-1]) + 1] if len(where) else samples[:0]


def _without_drift(samples: Tensor) -> Tensor:
    """Returns the sound minus its moving average of 0.1 s, so a constant offset becomes zero."""
    half = 800
    total = pad(samples.double().cumsum(0), (1, 0))
    index = torch.arange(len(samples))
    start, stop = (index - half).clamp_min(0), (index + half + 1).clamp_max(len(samples))
    mean = (total[stop] - total[start]) / (stop - start)
    return (samples.double() - mean).float()


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


@functools.lru_cache(maxsize=1)
def window_autocorrelation() -> Tensor:
    """Returns the normalised autocorrelation of the long window at every half sample."""
    window = torch.hann_window(LONG, periodic=False, dtype=torch.float64)
    power = torch.fft.rfft(window, n=FFT_LONG).abs().square()
    lags = torch.fft.irfft(power, n=2 * FFT_LONG)
    return (lags / lags[0]).clamp_min(0.05).float()
