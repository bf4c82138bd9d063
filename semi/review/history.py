"""What each round said of each utterance, kept small: texts as numbers of the few there are.

Letters: N utterances, L lines of the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import RunError
from ..evaluation.ledger_file import ledger_of

HISTORY_COLUMNS = ("round", "label", "confidence", "chosen", "accepted", "reason")


@dataclass
class History:
    """The ledger's HISTORY_COLUMNS sorted by utterance and round, those that it has."""

    values: dict[str, np.ndarray]  # (L,) numbers, or of a text its place in `texts`, -1 = none
    texts: dict[str, list[str]]
    first: np.ndarray  # (N + 1,) where an utterance begins

    def of(self, number: int) -> list[dict[str, Any]]:
        """Returns what each round said of an utterance, in their order; None where it is silent."""
        lines = range(int(self.first[number]), int(self.first[number + 1]))
        return [{name: self._cell(name, n) for name in self.values} for n in lines]

    def _cell(self, name: str, line: int) -> Any:
        value = self.values[name][line]
        if name in self.texts:
            return self.texts[name][value] if value >= 0 else None
        return value


def history_of(run: Path, ids: np.ndarray) -> History:
    """Returns the history of a run's utterances (N,); RunError where it names others."""
    ledger: Any = ledger_of(run, ("id", "round"), HISTORY_COLUMNS)
    names = ledger["id"].astype("category").cat
    number = pd.Index(ids).get_indexer(list(names.categories))[names.codes]
    if (number < 0).any():
        raise RunError("the ledger names utterances that the table of the run does not have")
    order = np.lexsort((ledger["round"].to_numpy(), number))
    values, texts = {}, {}
    for name in (name for name in HISTORY_COLUMNS if name in ledger):
        column = ledger[name]
        if isinstance(column.dtype, pd.CategoricalDtype):
            texts[name] = column.cat.categories.tolist()
            column = column.cat.codes
        values[name] = column.to_numpy()[order]
    first = np.searchsorted(number[order], np.arange(len(ids) + 1))
    return History(values, texts, first)
