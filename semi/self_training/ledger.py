"""The ledger: one row per pool utterance and round; who was taken, why, and what became of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from pseudo_label.pool import REASONS

from ..errors import RunError
from ..files import ANEW, read_table
from ..training.dataset import Dataset
from .confidence import round_confidence
from .state import RoundState
from .tasks import Task

ORDER = ["id", "round", "chosen", "accepted", "label", "weight", "reason", "rule", "threshold"]


def round_rows(
    dataset: Dataset, state: RoundState, before: RoundState, rule: str, task: Task
) -> pd.DataFrame:
    """Returns a round's (P, columns) table as known when the round was judged.

    Args:
        dataset: the data.
        state: the judged round, number >= 1.
        before: the round whose models were the teacher.
        rule: name of the selection rule.
        task: what is predicted.
    """
    pseudo_labels = state.pseudo_labels
    if pseudo_labels is None:
        raise ValueError("round 0 has no ledger: it learned from gold alone")
    rows = dataset.pool.cpu().numpy()
    chosen = pseudo_labels.chosen[-1].cpu().numpy()
    table = {
        "id": dataset.ids[rows],
        "round": np.full(len(rows), state.number),
        "chosen": chosen,
        "accepted": chosen & state.accepted,
        "weight": pseudo_labels.weight[-1].cpu().numpy().round(6),
        "reason": np.array(REASONS, dtype=object)[pseudo_labels.reason.cpu().numpy()],
        "rule": np.full(len(rows), rule, dtype=object),
    }
    table |= task.columns(dataset, pseudo_labels, before.outputs)
    if task.one_class:
        table["confidence"] = round_confidence(dataset, state).cpu().numpy().round(6)
    return pd.DataFrame(table, columns=[*ORDER, *(c for c in table if c not in ORDER)])


def read_ledger(path: Path, ids: np.ndarray, number: int) -> pd.DataFrame:
    """Returns a round's rows as `round_rows` made them; RunError where they are none of its own.

    Args:
        path: the round's ledger.parquet.
        ids: (P,) of the pool.
        number: of the round.
    """
    table = read_table(path, ORDER)
    wrong = [name for name, column in table.items() if not _of_kind(str(name), column)]
    if wrong:
        raise RunError(f"{path} has other values than semi writes in column {wrong[0]}; {ANEW}")
    own = sorted(table["id"]) == sorted(ids.tolist()) and set(table["round"]) <= {number}
    if not own:
        raise RunError(f"{path} is not of round {number} and this pool of {len(ids)}; {ANEW}")
    return table


def _of_kind(name: str, column: pd.Series) -> bool:
    """Says whether a column of the ledger holds what its name promises."""
    if name in ("chosen", "accepted"):
        return column.dtype == bool
    if name == "round":
        return pd.api.types.is_integer_dtype(column)
    if name in ("id", "label", "reason", "rule") or name.startswith("vote_"):
        must = name in ("id", "reason", "rule")
        texts = column if must else column.dropna()
        return bool(texts.map(lambda value: isinstance(value, str)).all())
    return column.isna().all() or (pd.api.types.is_numeric_dtype(column) and column.dtype != bool)


def merge_rounds(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Returns the ledger of all rounds with first_round, last_round and flips.

    first_round and last_round are the first and the latest accepted round up to the row's own
    that learned from the utterance (-1 = none so far); flips counts changes of its label so far.
    """
    if not parts:
        return pd.DataFrame(columns=[*ORDER, "first_round", "last_round", "flips"])
    ledger = pd.concat(parts, ignore_index=True)
    taken = ledger["round"].where(ledger["accepted"])
    by_id = ledger.assign(taken=taken).groupby("id", sort=False)
    ledger["first_round"] = by_id["taken"].cummin().groupby(ledger["id"]).ffill()
    ledger["last_round"] = by_id["taken"].cummax().groupby(ledger["id"]).ffill()
    before = by_id["label"].shift()
    flip = before.notna() & (before != ledger["label"])
    ledger["flips"] = flip.groupby(ledger["id"], sort=False).cumsum().astype(np.int64)
    for name in ("first_round", "last_round"):
        ledger[name] = ledger[name].fillna(-1).astype(np.int64)
    rest = [c for c in ledger.columns if c not in ORDER]
    return ledger.reindex(columns=[*ORDER, *rest])
