"""Strata of a pool, and how many rows of a batch each of them is due: proportional allocation.

Letters: P pool rows, K strata, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from .query_pool import QueryPool


@dataclass
class Strata:
    """Which stratum every row is of, and how many rows of each are still due."""

    code: Tensor  # (P,) int64
    due: Tensor  # (K,) int64, may fall below 0

    def served(self) -> Tensor:
        """Returns the rows (P,) bool whose stratum has had its share."""
        return (self.due <= 0)[self.code]

    def take(self, row: int) -> None:
        """Counts a row."""
        self.due[self.code[row]] -= 1


def by_speaker(pool: QueryPool, count: int, generator: Generator) -> Strata:
    """Returns the pool's speakers, each with its share of the batch; the lone rows are one stratum.

    A lone row is the only one of its speaker in the pool, or of a speaker that nobody knows.
    """
    _, code, size = torch.unique(pool.group, return_inverse=True, return_counts=True)
    code = torch.where(size[code] > 1, code, len(size))
    size = torch.bincount(code, minlength=len(size) + 1)
    return Strata(code, allocated(size, count, generator))


def by_class(pool: QueryPool, count: int, generator: Generator) -> Strata:
    """Returns the classes that the machine says, with what gold and batch together lack of each.

    Together they should have the shares that classes have in gold and, as the model sees it, pool.
    """
    gold = pool.gold_count.double()
    whole = pool.probs.double().sum(0) + gold  # (C,)
    lacking = (whole / whole.sum() * (gold.sum() + count) - gold).clamp(min=0)
    return Strata(pool.probs.argmax(1), allocated(lacking, count, generator))


def allocated(share: Tensor, count: int, generator: Generator) -> Tensor:
    """Returns whole numbers (K,) that sum to `count`, in expectation in proportion to shares (K,).

    Systematic sampling: each is one of the two whole numbers around its fair share, and strata too
    small for a row of their own get one as often as they should.
    """
    order = torch.randperm(len(share), generator=generator)
    share = share.double()
    edges = (share / share.sum() * count)[order].cumsum(0)
    edges[-1] = count  # not a hair below it
    start = torch.rand(1, generator=generator, dtype=torch.float64)
    marks = torch.cat([torch.zeros(1, dtype=torch.float64), edges]) + start
    due = torch.zeros(len(share), dtype=torch.int64)
    due[order] = marks.floor().diff().long()
    return due
