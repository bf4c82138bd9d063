"""Mean and deviation of the columns of many rows, of all rows or group by group."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK_ROWS = 256  # rows worked on at once: they stay in the cache
FLAT = 1e-6  # a deviation below this share of the mean is a constant dimension, left unscaled


def moments(
    values: Tensor, groups: Tensor, n: int, rows: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns each group's count (n, 1), mean and sum of squared deviations (n, D), in float64.

    One pass over deviations from the mean of the first rows, which are small: of BLOCK_ROWS rows
    they are added up as they are, the sums in float64.

    Args:
        values: (N, D).
        groups: (r,) of the rows that count.
        n: number of groups.
        rows: (r,) which rows of `values` count, and in which order; None = all of them.
    """
    dims = values.shape[1]
    count = torch.bincount(groups, minlength=n)[:, None].double()
    total = torch.zeros(n, dims, dtype=torch.float64)
    square = torch.zeros(n, dims, dtype=torch.float64)
    if not len(groups):
        return count, total, square
    first = values[:BLOCK_ROWS] if rows is None else values[rows[:BLOCK_ROWS]]
    shift = first.double().mean(0).to(values.dtype)
    room = torch.empty_like(first)
    for value, group in zip(_blocks(values, rows), groups.split(BLOCK_ROWS), strict=True):
        off = torch.sub(value, shift, out=room[: len(value)])
        if n == 1:
            total += off.sum(0)
            square += off.square_().sum(0)
        else:
            total.index_add_(0, group, off.double())
            square.index_add_(0, group, off.double().square_())
    mean = total / count.clamp(min=1)
    return count, mean + shift.double(), (square - count * mean.square()).clamp(min=0)


def _blocks(values: Tensor, rows: Tensor | None) -> Iterator[Tensor]:
    """Yields BLOCK_ROWS rows at a time; those of an index are copied a few blocks at a time.

    Rows that follow each other are read where they lie: copying them costs as much as the sums.
    """
    if rows is None:
        yield from values.split(BLOCK_ROWS)
        return
    for some in rows.split(64 * BLOCK_ROWS):
        follow = bool((some.diff() == 1).all())
        part = values[some[0] : some[0] + len(some)] if follow else values[some]
        yield from part.split(BLOCK_ROWS)


def per_group(
    values: Tensor, groups: Tensor, n: int, mean: Tensor, variance: Tensor, shrink: float,
    rows: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Returns each group's mean and deviation (n, D): (count * own + shrink * global) / sum.

    `groups` (r,) of the rows that count, -1 = of none; `rows` as in `moments`.
    """
    real = groups >= 0
    if not bool(real.all()):
        rows = real.nonzero()[:, 0] if rows is None else rows[real]
        groups = groups[real]
    count, own, square = moments(values, groups, n, rows)
    weight = count + shrink
    some = weight > 0
    weight = torch.where(some, weight, 1.0)
    shrunk = torch.where(some, (count * own + shrink * mean) / weight, mean)
    spread = torch.where(some, (square + shrink * variance) / weight, variance)
    return shrunk.float(), deviation(shrunk, spread)


def deviation(mean: Tensor, variance: Tensor) -> Tensor:
    """Returns the deviation (D,) float32, 1 where a column does not vary."""
    std = variance.clamp(min=0).sqrt()
    flat = std <= FLAT * mean.abs().clamp(min=1e-12)
    return torch.where(flat, torch.ones_like(std), std).float()
