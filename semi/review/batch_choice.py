"""A batch to label next: most rows by a rule, and some drawn at random from the whole pool.

Letters: P pool rows, b rows of the batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .acquisition import pick
from .query_pool import QueryPool, seeded_order
from .recommended import EVERY

SHARE = 2  # times its fair share of a batch, a speaker has at most
SHARED_OUT = ("stratified",)  # rules that share the batch out to speakers themselves


@dataclass
class ChosenRows:
    """The batch, best first."""

    rows: Tensor  # (b,) places in the pool
    values: Tensor  # (b,) what each was worth; NaN where drawn at random
    at_random: Tensor  # (b,) bool


def chosen_rows(
    pool: QueryPool, fresh: Tensor, rule: str, count: float, *,
    per_speaker: int | None = None, seed: int = 0,
) -> ChosenRows:  # fmt: skip
    """Returns the batch: one row in EVERY at random, of the whole pool, and the rule's of the rest.

    Args:
        pool: the rows that may be asked about.
        fresh: (P,) bool, those that a rule may choose; the others are only drawn at random.
        rule: one of `semi.review.acquisition.RULES`.
        count: what the rows may cost together, in units of `pool.cost`.
        per_speaker: at most so many of the rule's rows of a speaker; None: SHARE times its fair
            share of the batch, or no limit where the rule shares the batch out itself.
        seed: of what is drawn, and of ties.

    ValueError where the rule needs what the pool does not tell.
    """
    order = seeded_order(pool.tie, seed)
    left = fresh.clone()
    if rule == "random":
        share = min(count, float(pool.cost.sum()))
    else:
        share = min(count, float(pool.cost[left].sum())) / EVERY
    spent = pool.cost[order].cumsum(0)
    least = 1 if count >= 2 * float(spent[0]) else 0
    drawn = order[: max(int((spent <= share + 1e-6).sum()), least)]
    if rule == "random":
        value = 1 - torch.arange(len(drawn)) / max(len(pool), 1)
        return ChosenRows(drawn, value, torch.ones(len(drawn), dtype=torch.bool))
    left[drawn] = False
    rest = left.nonzero()[:, 0]
    budget = count - float(pool.cost[drawn].sum())
    most = per_speaker
    if most is None and rule not in SHARED_OUT:
        expected = budget / float(pool.cost.mean())
        most = max(1, math.ceil(SHARE * expected / len(torch.unique(pool.group))))
    rows, values = pick(pool, rule, budget, among=rest, per_group=most, seed=seed)
    return _interleaved(rows, values, drawn)


def _interleaved(rows: Tensor, values: Tensor, drawn: Tensor) -> ChosenRows:
    """Returns the rule's rows with those drawn at random spread evenly among them.

    So somebody who labels the first half of the list has a fair sample, too.
    """
    total = len(rows) + len(drawn)
    at = ((torch.arange(len(drawn)) + 1) * total // max(len(drawn), 1)) - 1
    at_random = torch.zeros(total, dtype=torch.bool)
    at_random[at] = True
    both = torch.zeros(total, dtype=torch.int64)
    both[at_random], both[~at_random] = drawn, rows
    worth = torch.full((total,), torch.nan, dtype=torch.float64)
    worth[~at_random] = values.double()
    return ChosenRows(both, worth, at_random)
