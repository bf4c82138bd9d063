"""Class-wise top-k over shards that do not fit in memory together, exact for any shard count."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .pool import quotas

LEVELS = 1 << 16  # a float32 is read as two 16-bit digits


@dataclass
class Cut:
    """The exact boundary of a global class-wise top-k."""

    key: Tensor  # (C,) int64, order-preserving integer of the lowest confidence that is taken
    tie: Tensor  # (C,) int64, largest tie taken at that confidence

    def take(self, probs: Tensor, tie: Tensor) -> Tensor:
        """Returns which rows of one shard are taken, (N,) bool."""
        key, label = _keys(probs)
        level, last = self.key.to(key.device)[label], self.tie.to(key.device)[label]
        return (key > level) | ((key == level) & (tie <= last))


def class_topk_sharded(
    shards: Sequence[tuple[Tensor, Tensor]], prior: Tensor, rate: float
) -> list[Tensor]:
    """Returns per shard of (probs (n, C), tie (n,)) the mask that class_topk gives on all rows."""
    rows = sum(len(probs) for probs, _ in shards)
    cut = find_cut(shards, quotas(rate, rows, prior))
    return [cut.take(probs, tie) for probs, tie in shards]


def find_cut(shards: Iterable[tuple[Tensor, Tensor]], quota: Tensor) -> Cut:
    """Returns the boundary for `quota` (C,) rows per class; reads the shards three times.

    Pass 1 and 2 are radix selection: histograms of the upper, then of the lower 16 bits of the
    confidence (they add over shards and processes). Pass 3 collects only the rows that lie exactly
    on the boundary and orders them by `tie`.
    """
    quota = quota.cpu().long()
    classes = len(quota)
    upper, left = _boundary(_histogram(shards, classes, None), quota)
    lower, left = _boundary(_histogram(shards, classes, upper), left)
    key = upper * LEVELS + lower
    ties: list[list[Tensor]] = [[] for _ in range(classes)]
    for probs, tie in shards:
        mine, label = _keys(probs)
        on = mine == key.to(mine.device)[label]
        for c in label[on].unique().tolist():
            ties[c].append(tie[on & (label == c)].cpu())
    last = torch.full((classes,), torch.iinfo(torch.int64).min)
    for c, found in enumerate(ties):
        if found and left[c] > 0:
            ordered = torch.cat(found).sort().values
            last[c] = ordered[min(int(left[c]), len(ordered)) - 1]
    return Cut(key, last)


def _keys(probs: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the confidence as a non-negative integer of the same order, and the class, (N,)."""
    confidence, label = probs.max(1)
    return (confidence.float() + 0.0).view(torch.int32).long(), label  # never negative


def _histogram(
    shards: Iterable[tuple[Tensor, Tensor]], classes: int, upper: Tensor | None
) -> Tensor:
    """Counts per class and 16-bit digit (C, LEVELS); with `upper`, of rows in that upper digit."""
    total = torch.zeros(classes * LEVELS, dtype=torch.int64)
    for probs, _ in shards:
        key, label = _keys(probs)
        digit = key // LEVELS
        if upper is not None:
            inside = digit == upper.to(key.device)[label]
            digit, label = key[inside] % LEVELS, label[inside]
        total += torch.bincount(label * LEVELS + digit, minlength=classes * LEVELS).cpu()
    return total.view(classes, LEVELS)


def _boundary(counts: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Returns per class the digit in which the wanted-th best row lies, and how many rows of it."""
    above = counts.flip(1).cumsum(1).flip(1)  # rows at this digit or above
    reached = above >= wanted[:, None]
    digit = reached.long().sum(1) - 1  # largest digit with enough rows at or above it
    short = digit < 0  # the class has fewer rows: take all
    digit = digit.clamp(min=0)
    here = above.gather(1, digit[:, None])[:, 0] - counts.gather(1, digit[:, None])[:, 0]
    left = torch.where(short, counts[:, 0], wanted - here)
    return digit, left
