"""Some pool rows as the ledger tells of them: what was learned, and what the teacher said.

Letters: H heads, P pool rows, R of them, M modalities, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from ...training.dataset import Dataset
from ...training.voter import Voter
from ..pool_answers import last_logits
from ..state import PseudoLabels, RoundState

PIECE = 65_536  # rows of a ledger that are made, written and read at once


@dataclass
class TaughtRows:
    """R rows of the pool, with what the last chain of a round was taught of them and by whom."""

    rows: slice  # of the pool
    classes: list[str]
    present: Tensor  # (R, M) bool
    label: Tensor  # (R,) class numbers, of one byte where a round was read back and they fit
    probs: Tensor  # (R, C) what the rule saw
    threshold: Tensor  # (C,)
    voter: Voter  # of the teacher
    teacher: RoundState
    dataset: Dataset
    affect: Tensor | None = None  # (R, 2) valence and arousal as the teacher says them
    affect_spread: Tensor | None = None  # (R, 2)

    @property
    def logits(self) -> Tensor:
        """Returns (H, R, C) of the teacher, raw; a task that does not ask for them asks no pool."""
        return last_logits(self.dataset, self.teacher)[:, self.rows]


def taught_rows(
    dataset: Dataset, learned: PseudoLabels, before: RoundState
) -> Iterator[TaughtRows]:
    """Yields the pool's rows, PIECE at a time.

    Args:
        dataset: the data.
        learned: what the round was taught.
        before: the round whose models were the teacher.
    """
    affect = before.outputs.affect
    for start in range(0, max(len(dataset.pool), 1), PIECE):
        rows = slice(start, start + PIECE)
        yield TaughtRows(
            rows, dataset.classes, dataset.present[dataset.pool[rows]], learned.label[-1, rows],
            learned.probs[rows], learned.threshold, before.outputs.voter, before, dataset,
            None if affect is None else affect.pool[-1, rows],
            None if affect is None else affect.pool_spread[-1, rows],
        )  # fmt: skip
