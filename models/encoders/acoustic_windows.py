"""The windows of a sound, block by block: without the zeros around it and without its drift.

A sound is a tensor (S,) or anything whose slices become one, such as samples that lie on a disk; no
more than a block of it is held.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

HOP = 160  # 10 ms, the frame step of openSMILE, Kaldi and most of the literature
SHORT = 400  # 25 ms: resolves the envelope of the spectrum, blurs its harmonics
LONG = 720  # 45 ms: about three periods of the lowest pitch, what autocorrelation needs
BLOCK_FRAMES = 3000  # frames measured at a time, half a minute; most utterances are a single block
BLOCK_SAMPLES = 1 << 20  # samples looked through at a time for zeros
HALF_DRIFT = 800  # samples on either side of the moving average of 0.1 s


class Windows:
    """The T short and T long windows of a sound, which have the same centres."""

    def __init__(self, sound: Any) -> None:
        """Takes a sound (S,) at 16 kHz; silence has a single window."""
        self.sound = sound
        self.start, self.stop = _span(sound)
        self.count = max(0, self.stop - self.start - LONG) // HOP + 1
        self._kept: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return self.count

    def blocks(self, first: int, last: int) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Yields the windows first ... last - 1 in turn, with their places counted from `first`.

        Each time (n, SHORT) and (n, LONG). Only windows that lie wholly inside the sound: one that
        hangs over the edge of a file cut out of running speech sees a click there.
        """
        edge = (LONG - SHORT) // 2
        for begin in range(first - first % BLOCK_FRAMES, last, BLOCK_FRAMES):
            part = self._part(begin)
            low, high = max(first, begin) - begin, min(last - begin, BLOCK_FRAMES)
            short = part[edge : len(part) - edge].unfold(0, SHORT, HOP)[low:high]
            long = part.unfold(0, LONG, HOP)[low:high]
            yield slice(begin + low - first, begin + high - first), short, long

    def _part(self, begin: int) -> Tensor:
        """Returns the samples under the block of windows from `begin` on, without drift."""
        if begin not in self._kept:
            count = min(BLOCK_FRAMES, self.count - begin)
            low = begin * HOP
            high = min(low + (count - 1) * HOP + LONG, self.stop - self.start)
            part = self._without_drift(low, max(low, high))
            self._kept = {begin: pad(part, (0, max(0, LONG - len(part))))}
        return self._kept[begin]

    def _without_drift(self, low: int, high: int) -> Tensor:
        """Returns samples low ... high - 1 minus their moving average: an offset becomes zero."""
        half, size = HALF_DRIFT, self.stop - self.start
        base, end = max(0, low - half), min(size, high + half + 1)
        samples = as_tensor(self.sound[self.start + base : self.start + end]).double()
        total = pad(samples.cumsum(0), (1, 0))
        index = torch.arange(low, high)
        start, stop = (index - half).clamp_min(0), (index + half + 1).clamp_max(size)
        mean = (total[stop - base] - total[start - base]) / (stop - start)
        return (samples[low - base : high - base] - mean).float()


def as_tensor(part: Any) -> Tensor:
    """Returns a part of a sound as a tensor (S,)."""
    return part if isinstance(part, Tensor) else torch.from_numpy(np.array(part, np.float32))


def _span(sound: Any) -> tuple[int, int]:
    """Returns where the sound begins and ends that zeros of a collator or a cutter surround."""
    for start in range(0, len(sound), BLOCK_SAMPLES):
        where = as_tensor(sound[start : start + BLOCK_SAMPLES]).nonzero()
        if len(where):
            first = start + int(where[0])
            break
    else:
        return 0, 0
    for stop in range(len(sound), 0, -BLOCK_SAMPLES):
        start = max(0, stop - BLOCK_SAMPLES)
        where = as_tensor(sound[start:stop]).nonzero()
        if len(where):
            return first, start + int(where[-1]) + 1
    return 0, 0
