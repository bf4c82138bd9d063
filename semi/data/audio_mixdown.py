"""Blocks of any rate and channels -> 16 kHz mono float32 in [-1, 1], and what is no sound."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable

import numpy as np

from ..errors import AudioError
from .long_sound import KEPT_SECONDS, LongSound

SAMPLE_RATE = 16_000
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
        self._peak, self._peak_at = 0.0, 0
        self._least: list[float] = []  # of each channel where there are several, mono last
        self._greatest: list[float] = []
        self._sum: list[float] = []
        self._parts: list[np.ndarray] = []
        self._length = 0
        self._file = None
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
            self._file.flush()
            return LongSound(self._file, self._length, scale)
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
        if peak > self._peak:
            self._peak = peak
            if peak > OVERDRIVEN:
                self._peak_at = self.frames + int(np.abs(block).max(axis=1).argmax())
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
            self._file = tempfile.TemporaryFile(prefix="semi-sound-")  # noqa: SIM115 # its sound closes it
            for part in self._parts:
                self._file.write(part.tobytes())
            self._parts = []
        if self._file is None:
            self._parts.append(mono)
        else:
            self._file.write(np.ascontiguousarray(mono).tobytes())

    def _scale(self) -> float:
        """Returns what the sound is divided by: floats may exceed full scale, their shape is kept.

        Far beyond it they are integers that were stored as floats, and get the full scale of those.
        """
        if self._peak <= OVERDRIVEN:
            return max(1.0, self._peak)
        full = next((full for full in INTEGERS if self._peak <= full), None)
        usual = self._usual()
        if full is None or self._peak > OUTLIER * usual or usual < SILENCE * full:
            raise AudioError(
                f"not a sound: {self._place(self._peak_at)} is {self._peak:.3g} in size, where "
                f"99.9 % of all are below {usual:.3g}; repair or drop the file"
            )
        return full

    def _usual(self) -> float:
        """Returns the power of two under which 99.9 % of the samples stay."""
        counts = np.zeros(256, np.int64)
        for part in self._held():
            exponent = (part.view(np.int32) >> 23) & 0xFF  # of the float32, without its sign
            counts += np.bincount(exponent, minlength=256)
        enough = int(np.searchsorted(counts.cumsum(), 0.999 * counts.sum()))
        return float(2.0 ** (enough - 126))

    def _held(self) -> Iterable[np.ndarray]:
        if self._file is None:
            yield from (np.ascontiguousarray(part, np.float32) for part in self._parts)
            return
        for start in range(0, self._length, 1 << 20):
            self._file.seek(4 * start)
            yield np.frombuffer(self._file.read(4 << 20), np.float32)

    def _place(self, at: int) -> str:
        at += self.first
        return f"sample {at} (at {at / self.rate:.3f} s)"
