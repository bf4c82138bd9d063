"""Twenty numbers of one utterance's EDA, skin temperature and heart beats.

A signal is scaled by its whole recording's root mean square: the published L2 norm times the square
root of the samples, so that recordings of different lengths agree. Wavelets see the whole recording
too, since the widest one is longer than any utterance; an utterance then owns its own samples.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

EDA = (
    *("eda_mean", "eda_std", "eda_min", "eda_max", "eda_power", "eda_slope", "eda_skew"),
    *("eda_kurtosis", "eda_wavelet_energy", "eda_wavelet_entropy", "eda_wavelet_rms"),
    "eda_wavelet_share",
)
TEMP = ("temp_mean", "temp_std", "temp_min", "temp_max", "temp_range")
IBI = ("ibi_mean", "ibi_rms", "ibi_heart_rate")
FEATURES = {"eda": EDA, "temp": TEMP, "ibi": IBI}
BAND = (0.05, 0.5)  # Hz, where skin conductance responses lie
WIDE, NARROW = 64, 4  # scales in samples: 0.05 Hz and 0.8 Hz at 4 Hz
SCALES = (2, NARROW, 8, 16, 32, WIDE)  # over which the energy at NARROW is a share
RESOLUTION = 0.05  # Hz, of the spectrum of utterances shorter than 20 s


def signal_features(
    kind: str, values: np.ndarray, segments: Mapping[str, np.ndarray], rate: float = 4.0
) -> dict[str, np.ndarray]:
    """Returns {segment id: features of FEATURES[kind]} of one recording.

    Args:
        kind: eda, temp or ibi.
        values: (T,) the whole recording: microsiemens, degrees Celsius, or seconds between beats.
        segments: id -> (n,) indices of its samples, n > 0.
        rate: samples a second.
    """
    values = np.asarray(values, dtype=np.float64)
    features = {"eda": _eda, "temp": _temp, "ibi": _ibi}[kind]
    return features(values, segments, rate)


def _eda(
    values: np.ndarray, segments: Mapping[str, np.ndarray], rate: float
) -> dict[str, np.ndarray]:
    change = unit_rms(np.diff(values, prepend=values[:1]))  # (T,)
    energy = {scale: morlet(change, scale) ** 2 for scale in SCALES}  # (T,) each
    found = {}
    for name, at in segments.items():
        part, wide = change[at], energy[WIDE][at]
        total = sum(energy[scale][at].sum() for scale in SCALES)
        share = energy[NARROW][at].sum() / total if total > 0 else 0.0
        slope = np.diff(part).mean() if len(part) > 1 else 0.0
        found[name] = np.array(
            [
                *(part.mean(), part.std(), part.min(), part.max(), band_power(part, rate), slope),
                *(standard_moment(part, 3), standard_moment(part, 4) - 3.0),
                *(wide.sum(), entropy(wide), np.sqrt(wide.mean()), share),
            ]
        )
    return found


def _temp(
    values: np.ndarray, segments: Mapping[str, np.ndarray], rate: float
) -> dict[str, np.ndarray]:
    scaled = unit_rms(values)
    found = {}
    for name, at in segments.items():
        part = scaled[at]
        low, high = part.min(), part.max()
        found[name] = np.array([part.mean(), part.std(), low, high, high - low])
    return found


def _ibi(
    values: np.ndarray, segments: Mapping[str, np.ndarray], rate: float
) -> dict[str, np.ndarray]:
    scaled = unit_rms(values)
    found = {}
    for name, at in segments.items():
        part = scaled[at]
        beats = 60.0 / values[at].mean()  # a minute, of the seconds as measured
        found[name] = np.array([part.mean(), np.sqrt((part**2).mean()), beats])
    return found


def unit_rms(signal: np.ndarray) -> np.ndarray:
    """Returns the signal with root mean square 1; a signal of zeros stays."""
    size = np.sqrt(np.mean(signal**2)) if len(signal) else 0.0
    return signal / size if size > 0 else signal


def morlet(signal: np.ndarray, scale: float) -> np.ndarray:
    """Returns (T,) coefficients of the real Morlet wavelet exp(-t^2 / 2) cos(5 t) at one scale.

    Its frequency is 5 / (2 pi) / scale cycles a sample; outside of the recording is zero.
    """
    from scipy.signal import fftconvolve  # scipy itself no longer has a wavelet transform

    reach = int(np.ceil(8 * scale))
    t = np.arange(-reach, reach + 1) / scale
    wavelet = np.exp(-(t**2) / 2) * np.cos(5 * t) / np.sqrt(scale)  # even, so no need to reverse
    return fftconvolve(signal, wavelet, mode="full")[reach : reach + len(signal)]


def band_power(part: np.ndarray, rate: float) -> float:
    """Returns the power of a stretch of signal within BAND, without its mean."""
    from scipy.signal import periodogram

    points = max(len(part), int(np.ceil(rate / RESOLUTION)))
    frequency, density = periodogram(part, fs=rate, nfft=points, detrend="constant")
    inside = (frequency >= BAND[0] - 1e-9) & (frequency <= BAND[1] + 1e-9)
    return float(density[inside].sum() * (frequency[1] - frequency[0]))


def standard_moment(part: np.ndarray, order: int) -> float:
    """Returns E[z^order] of the standardised samples; of equal samples that of a normal one."""
    spread = part.std()
    if spread <= 1e-9 * max(1.0, np.abs(part).max()):
        return 3.0 if order == 4 else 0.0
    return float((((part - part.mean()) / spread) ** order).mean())


def entropy(energy: np.ndarray) -> float:
    """Returns the entropy, in nats, of how the energy (n,) lies over the samples."""
    total = energy.sum()
    if total <= 0:
        return 0.0
    share = energy[energy > 0] / total
    return float(-(share * np.log(share)).sum())
