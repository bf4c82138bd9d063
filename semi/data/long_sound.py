"""A sound too long to be held in memory: its samples lie on the disk and are read by slices."""

from __future__ import annotations

import tempfile
import threading
import weakref

import numpy as np

KEPT_SECONDS = 300.0  # longer sounds go to the disk; 19 MB of samples


class SampleFile:
    """Samples float32 in a temporary file, which is closed with whoever holds it last."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="semi-sound-")  # noqa: SIM115
        self._lock = threading.Lock()
        self._length = 0
        weakref.finalize(self, self._file.close)

    def append(self, samples: np.ndarray) -> None:
        """Writes samples behind those that are there."""
        with self._lock:
            self._file.seek(4 * self._length)
            self._file.write(np.ascontiguousarray(samples, np.float32).data)
            self._length += len(samples)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Returns the samples start ... stop - 1."""
        with self._lock:
            self._file.seek(4 * start)
            return np.frombuffer(self._file.read(4 * (stop - start)), np.float32)


class LongSound:
    """Samples (S,) float32 on the disk.

    Encoders take it in place of an array: `len(sound)`, `np.asarray(sound[a:b])`.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, file: SampleFile, start: int, stop: int, scale: float = 1.0) -> None:
        """Holds the samples start ... stop - 1, which are divided by `scale` as they are read."""
        self._file, self._start, self._stop, self._scale = file, start, stop, scale

    def __len__(self) -> int:
        return self._stop - self._start

    def __getitem__(self, part: slice) -> LongSound:
        start, stop, step = part.indices(len(self))
        if step != 1:
            raise ValueError(f"a long sound is read forwards, sample by sample; got step {step}")
        begin = self._start + start
        return LongSound(self._file, begin, max(begin, self._start + stop), self._scale)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        """Returns the samples (S,), read now and brought into [-1, 1]."""
        samples = self._file.read(self._start, self._stop) / np.float32(self._scale)
        samples = np.clip(samples, -1.0, 1.0)
        return samples if dtype is None else samples.astype(dtype, copy=False)
