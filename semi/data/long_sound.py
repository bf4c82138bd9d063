"""A sound too long to be held in memory: its samples lie on the disk and are read by slices."""

from __future__ import annotations

import threading
from typing import BinaryIO

import numpy as np

KEPT_SECONDS = 300.0  # longer sounds go to the disk; 19 MB of samples


class LongSound:
    """Samples (S,) float32 in a temporary file, which goes with the last of its slices.

    Encoders take it in place of an array: `len(sound)`, `np.asarray(sound[a:b])`.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, file: BinaryIO, length: int, scale: float = 1.0) -> None:
        """Holds `length` samples of a file, which are divided by `scale` as they are read."""
        self._file, self._lock, self._scale = file, threading.Lock(), scale
        self._start, self._stop = 0, length

    def __len__(self) -> int:
        return self._stop - self._start

    def __getitem__(self, part: slice) -> LongSound:
        start, stop, step = part.indices(len(self))
        if step != 1:
            raise ValueError(f"a long sound is read forwards, sample by sample; got step {step}")
        other = LongSound(self._file, 0, self._scale)
        other._lock = self._lock
        other._start, other._stop = self._start + start, self._start + max(start, stop)
        return other

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        """Returns the samples (S,), read now and brought into [-1, 1]."""
        width = self.dtype.itemsize
        with self._lock:
            self._file.seek(self._start * width)
            data = self._file.read(len(self) * width)
        samples = np.frombuffer(data, self.dtype)
        samples = np.clip(samples / np.float32(self._scale), -1.0, 1.0)
        return samples if dtype is None else samples.astype(dtype, copy=False)
