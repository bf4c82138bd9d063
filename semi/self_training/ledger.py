"""The ledger: one row per pool utterance and round; who was taken, why, and what became of it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pseudo_label.pool import REASONS

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
