"""Which unlabelled rows are worth a label most: rows of a pool, by a rule, within a budget.

The order of a table plays no part: rows are put in an order that seed and ids alone decide before
a rule sees them, so that ties fall by it, too. To add a rule, write its function and put it into
`ROW_RULES` or `BATCH_RULES`.

Letters: P pool rows, k rows picked.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .batch_rules import BATCH_RULES
from .query_pool import QueryPool, seeded_order
from .row_rules import ROW_RULES

RULES = (*ROW_RULES, *BATCH_RULES)


def pick(
    pool: QueryPool, rule: str, budget: float, *, among: Tensor | None = None,
    per_group: int | None = None, seed: int = 0,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Returns rows (k,) worth a label, best first, and what each was worth when it was taken (k,).

    Args:
        pool: the rows that may be asked about.
        rule: one of RULES.
        budget: what the rows may cost together, in units of `pool.cost`; rows of cost 1: how many.
        among: (r,) rows that the rule sees and may take; None: all.
        per_group: at most so many rows of a speaker; None: no limit.
        seed: of ties and of what a rule draws.

    ValueError where the rule needs what the pool does not tell.
    """
    if among is None:
        among = torch.arange(len(pool))
    order = among[seeded_order(pool.tie[among], seed)]
    pool = pool.at(order)
    spending = _Spending(pool, budget, per_group)
    if rule in ROW_RULES:
        rows, values = _by_value(ROW_RULES[rule](pool) / pool.cost, spending)
    else:
        rows, values = _one_by_one(pool, rule, budget, spending, seed)
    return order[torch.tensor(rows, dtype=torch.int64)], torch.tensor(values)


class _Spending:
    """What is left of the budget, and of every speaker."""

    def __init__(self, pool: QueryPool, budget: float, per_group: int | None) -> None:
        self.group, self.cost = pool.group.tolist(), pool.cost.tolist()
        self.left = budget + 1e-9
        most = len(pool) if per_group is None else per_group
        self.of_group = dict.fromkeys(self.group, most)

    def affords(self, row: int) -> bool:
        """Says whether a row may be taken."""
        return self.cost[row] <= self.left and self.of_group[self.group[row]] > 0

    def take(self, row: int) -> None:
        """Pays for a row."""
        self.left -= self.cost[row]
        self.of_group[self.group[row]] -= 1


def _by_value(value: Tensor, spending: _Spending) -> tuple[list[int], list[float]]:
    """Returns the rows of the greatest values (P,) that can be paid for, and these values."""
    rows = []
    least = min(spending.cost, default=0.0)
    for row in value.argsort(descending=True, stable=True).tolist():
        if spending.left < least:
            break
        if spending.affords(row):
            spending.take(row)
            rows.append(row)
    return rows, [float(value[row]) for row in rows]


def _one_by_one(
    pool: QueryPool, rule: str, budget: float, spending: _Spending, seed: int
) -> tuple[list[int], list[float]]:
    """Returns the rows that a batch rule takes one after the other, and what each was worth."""
    generator = torch.Generator().manual_seed(seed)
    count = min(len(pool), max(1, round(budget / float(pool.cost.mean())))) if len(pool) else 0
    if not count:
        return [], []
    values_beside = BATCH_RULES[rule](pool, count, generator)
    closed = pool.cost > spending.left
    last, rows, values = None, [], []
    while not bool(closed.all()):
        value = (values_beside(last) / pool.cost).masked_fill(closed, -1.0)
        last = int(value.argmax())
        spending.take(last)
        rows.append(last)
        values.append(float(value[last]))
        closed |= pool.cost > spending.left
        closed[last] = True
        if not spending.of_group[spending.group[last]]:
            closed |= pool.group == pool.group[last]
    return rows, values
