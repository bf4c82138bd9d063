"""Blocks of any rate and channels -> 16 kHz mono float32 in [-1, 1], and what is no sound."""

from __future__ import annotations

import math

import numpy as np

from ..errors import AudioError
from .audio_decoders import SAMPLE_RATE
from .long_sound import KEPT_SECONDS, LongSound, SampleFile

SILENCE = 1e-4  # peak, -80 dB of full scale: three steps of 16 bits
INTEGERS = (2.0**15, 2.0**23, 2.0**31)  # full scale of integers that were stored as floats
OVERDRIVEN = 16.0  # times full scale, 24 dB: no recording in floats goes beyond it
OUTLIER = 100.0  # times what 99.9 % of the samples stay under: a peak that is no part of the sound


class Mixdown:
    """Mixes blocks (n, channels) down as they come; holds 16 kHz mono, in memory or on the disk."""

    def __init__(self, rate: int, channel: int | None = None, first: int = 0) -> None:
        """Starts a sound of this rate.

        Args:
            rate: in Hz.
            channel: kept alone; None = the mean of all.
            first: frames of the file before the first block, for messages that name a place.
        """
        self.rate, self.channel, self.first = rate, channel, first
        self.frames = 0
        self._peak = 0.0
        self._least: list[float] = []  # of each channel where there are several, mono last
        self._greatest: list[float] = []
        self._sum: list[float] = []
        self._parts: list[np.ndarray] = []
        self._length = 0
        self._file: SampleFile | None = None
        self._resampler = None
        if rate != SAMPLE_RATE:
            import soxr

            self._resampler = soxr.ResampleStream(
                rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ"
            )  # band-limited; in blocks or at once, the numbers are the same

    def add(self, block: np.ndarray) -> None:
        """Takes the next frames (n, channels) float32; AudioError where one is NaN or infinite."""
        if self.channel is not None:
            mono = np.ascontiguousarray(block[:, self.channel])
        else:
            mono = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)
        self._measure(block, mono)
        self.frames += len(block)
        self._keep(mono if self._resampler is None else self._resampler.resample_chunk(mono))

    def result(self) -> np.ndarray | LongSound:
        """Returns the sound (S,), scaled where it exceeds full scale; AudioError for no sound."""
        if self._resampler is not None:
            nothing = np.zeros(0, np.float32)
            self._keep(self._resampler.resample_chunk(nothing, last=True))
        scale = self._scale()
        if self._file is not None:
            return LongSound(self._file, 0, self._length, scale)
        mono = np.concatenate(self._parts) if self._parts else np.zeros(0, np.float32)
        if scale != 1.0:
            mono = mono / scale
        return np.clip(mono, -1.0, 1.0).astype(np.float32)

    def loudest(self) -> int | None:
        """Returns the channel to keep where all cancel out, None where their mean is fine.

        AudioError where there is nothing to hear; a constant offset is silence, too.
        """
        means = [total / self.frames for total in self._sum]
        swing = [
            max(high - mean, mean - low)
            for low, mean, high in zip(self._least, means, self._greatest, strict=True)
        ]
        if swing[-1] >= SILENCE:
            return None
        loudest = max(swing)
        if loudest < SILENCE:
            raise AudioError(f"silent: no sample departs from the mean by more than {SILENCE:g}")
        return swing.index(loudest)

    def _measure(self, block: np.ndarray, mono: np.ndarray) -> None:
        signals = [mono]
        if block.shape[1] > 1:
            signals = [*(block[:, k] for k in range(block.shape[1])), mono]
        least = [float(signal.min()) for signal in signals]
        greatest = [float(signal.max()) for signal in signals]
        peak = max(*greatest, -min(least))
        if not all(map(math.isfinite, (*least, *greatest))):
            at = self.frames + int(np.argmin(np.isfinite(block).all(axis=1)))
            raise AudioError(f"not finite: {self._place(at)} is NaN or infinite")
        if peak > OVERDRIVEN:
            self._loud(block, peak)
        self._peak = max(self._peak, peak)
        total = [float(signal.sum(dtype=np.float64)) for signal in signals]
        if not self.frames:
            self._least, self._greatest, self._sum = least, greatest, total
            return
        self._least = list(map(min, self._least, least))
        self._greatest = list(map(max, self._greatest, greatest))
        self._sum = [a + b for a, b in zip(self._sum, total, strict=True)]

    def _keep(self, mono: np.ndarray) -> None:
        self._length += len(mono)
        if self._file is None and self._length > KEPT_SECONDS * SAMPLE_RATE:
            self._file = SampleFile()
            for part in self._parts:
                self._file.append(part)
            self._parts = []
        if self._file is None:
            self._parts.append(mono)
        else:
            self._file.append(mono)

    def _loud(self, block: np.ndarray, peak: float) -> None:
        """Raises AudioError where the peak of a block far beyond full scale is no part of it."""
        size = np.abs(block).max(axis=1)
        usual = float(np.quantile(size, 0.999, method="lower"))
        full = next((full for full in INTEGERS if peak <= full), None)
        if full is None or peak > OUTLIER * usual or usual < SILENCE * full:
            at = self.frames + int(size.argmax())
            raise AudioError(
                f"not a sound: {self._place(at)} is {peak:.3g} in size, where 99.9 % of those "
                f"around it stay within {usual:.3g}; repair or drop the file"
            )

    def _scale(self) -> float:
        """Returns what the sound is divided by: floats may exceed full scale, their shape is kept.

        Far beyond it they are integers that were stored as floats, and get the full scale of those.
        """
        if self._peak <= OVERDRIVEN:
            return max(1.0, self._peak)
        return next(full for full in INTEGERS if self._peak <= full)

    def _place(self, at: int) -> str:
        at += self.first
        return f"sample {at} (at {at / self.rate:.3f} s)"
