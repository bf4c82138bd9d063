"""The pitch of every frame, from the autocorrelation of its long window.

The autocorrelation of the windowed frame divided by that of the window (Boersma 1993,
https://www.fon.hum.uva.nl/paul/papers/Proceedings_1993.pdf). Octave errors are fought as in
De Looze & Hirst 2008: a first pass over the whole range finds the speaker's register, a second one
searches only there. Both passes are vectorised over frames, unlike a Viterbi search. Letters: T
frames.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from .acoustic_windows import LONG
from .base import SAMPLE_RATE

FFT_LONG = 1024  # >= LONG + the longest lag: no circular overlap
F0_MIN, F0_MAX = 60.0, 600.0  # Hz; emotional speech goes far above the usual 400 Hz
VOICED = 0.5  # normalised autocorrelation at the pitch lag above which a frame counts as voiced


@dataclass
class Candidates:
    """The autocorrelation of T frames at every lag that may be a period, and one lag further."""

    before: Tensor  # (T, lags)
    here: Tensor
    after: Tensor
    peak: Tensor  # (T, lags) bool
    score: Tensor  # (T, lags)
    period: Tensor  # (lags,) in samples


def candidates(harmonic: Tensor) -> Candidates:
    """Returns what power spectra (T, 513) say of each lag."""
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
    return Candidates(before, here, after, peak, score, period)


def choose(found: Candidates, allowed: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Returns f0 in Hz and the periodicity in [0, 1], both (T,); `allowed` (lags,) bool or all."""
    if allowed is None:
        allowed = torch.ones_like(found.period, dtype=torch.bool)
    allowed = allowed.expand_as(found.peak)
    index = torch.where(allowed, found.score, -1.0).argmax(1, keepdim=True)  # (T, 1)
    left, mid, right = (a.gather(1, index)[:, 0] for a in (found.before, found.here, found.after))
    bend = (left - 2 * mid + right).clamp_max(-1e-9)
    shift = (0.5 * (left - right) / bend).clamp(-0.5, 0.5)
    height = mid - 0.25 * (left - right) * shift
    sure = (found.peak & allowed).gather(1, index)[:, 0]
    f0 = SAMPLE_RATE / (found.period[index[:, 0]] + shift / 2)
    return f0, torch.where(sure, height, 0.0).clamp(0.0, 1.0)


def register(f0: Tensor, strength: Tensor, active: Tensor) -> tuple[float, float] | None:
    """Returns the quartiles of f0 over the frames that are surely voiced; None for too few."""
    sure = active & (strength > VOICED)
    if int(sure.sum()) < 5:
        return None
    lower, upper = torch.quantile(f0[sure], torch.tensor([0.25, 0.75])).tolist()
    return lower, upper


def within(period: Tensor, lower: float, upper: float) -> Tensor:
    """Returns which periods (lags,) belong to the register of a voice."""
    return (period >= SAMPLE_RATE / (1.8 * upper)) & (period <= SAMPLE_RATE / (0.7 * lower))


def without_jumps(f0: Tensor, voiced: Tensor) -> Tensor:
    """Returns f0 with isolated octave errors replaced by the median of five voiced neighbours."""
    values = f0[voiced]
    if len(values) < 5:
        return f0
    middle = pad(values[None], (2, 2), mode="replicate")[0].unfold(0, 5, 1).median(1).values
    f0 = f0.clone()
    f0[voiced] = torch.where((values / middle).log2().abs() > 0.3, middle, values)
    return f0


@functools.lru_cache(maxsize=1)
def window_autocorrelation() -> Tensor:
    """Returns the normalised autocorrelation of the long window at every half sample."""
    window = torch.hann_window(LONG, periodic=False, dtype=torch.float64)
    power = torch.fft.rfft(window, n=FFT_LONG).abs().square()
    lags = torch.fft.irfft(power, n=2 * FFT_LONG)
    return (lags / lags[0]).clamp_min(0.05).float()
