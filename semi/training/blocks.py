"""Sums over many rows, a block after the other: memory does not grow with the rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

from torch import Tensor

BLOCK_ROWS = 16_384  # of 50 components and 6 chains: 20 MB; fewer rows are one block


def summed(rows: int, of: Callable[[slice], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Returns the sums over all blocks of what `of` returns of the rows of each.

    Args:
        rows: how many there are; of none `of` is asked once.
        of: given a slice of rows, returns tensors of one shape whatever the slice.
    """
    starts = range(0, max(rows, 1), BLOCK_ROWS)
    parts = (of(slice(start, min(start + BLOCK_ROWS, rows))) for start in starts)
    return reduce(lambda a, b: tuple(x + y for x, y in zip(a, b, strict=True)), parts)
