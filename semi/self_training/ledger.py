"""The ledger: one row per pool utterance and round; who was taken, why, and what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pseudo_label.pool import REASONS

from ..errors import RunError, reading
from ..files import ANEW
from ..training.dataset import Dataset
from .confidence import round_confidence
from .state import RoundState
from .tasks import Task

if TYPE_CHECKING:
    import pyarrow as pa

ORDER = ["id", "round", "chosen", "accepted", "label", "weight", "reason", "rule", "threshold"]
FULL = ("id", "round", "chosen", "accepted", "reason", "rule")  # a value in every row


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


def check_ledger(path: Path, ids: np.ndarray, number: int) -> None:
    """Raises RunError unless a round's ledger is as `round_rows` makes them of this pool.

    Args:
        path: the round's ledger.parquet.
        ids: (P,) of the pool.
        number: of the round.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with reading(path, "a table", ANEW):
        schema = pq.read_schema(path)
    lacking = [name for name in ORDER if name not in schema.names]
    if lacking:
        raise RunError(f"{path} lacks the column {lacking[0]}; {ANEW}")
    # of the others the type says enough, unless it is one that only an empty column may have
    looked = [f.name for f in schema if f.name in FULL or not _of_kind(f)]
    with reading(path, "a table", ANEW):
        table = pq.read_table(path, columns=looked)
    for name in looked if len(table) else ():  # of no rows a column may have any type
        empty = table[name].null_count == len(table)
        full = table[name].null_count == 0 and _of_kind(schema.field(name))
        if not (full if name in FULL else empty or _only_nan(table[name])):
            raise RunError(f"{path} has other values than semi writes in column {name}; {ANEW}")
    own = table["id"].cast(pa.large_string()).combine_chunks()
    same = len(table) == len(ids) and own.equals(pa.array(ids.astype(object), pa.large_string()))
    if not same or not (table["round"].to_numpy() == number).all():
        raise RunError(f"{path} is not of round {number} and this pool of {len(ids)}; {ANEW}")


def _of_kind(field: pa.Field) -> bool:
    """Says whether the type of a column of the ledger is what its name promises."""
    import pyarrow.types as kinds

    name, kind = field.name, field.type
    if name in ("chosen", "accepted"):
        return kinds.is_boolean(kind)
    if name == "round":
        return kinds.is_integer(kind)
    if name in ("id", "label", "reason", "rule") or name.startswith("vote_"):
        return kinds.is_string(kind) or kinds.is_large_string(kind)
    return kinds.is_integer(kind) or kinds.is_floating(kind)


def _only_nan(column: pa.ChunkedArray) -> bool:
    """Says whether a column holds no number at all."""
    import pyarrow.types as kinds

    return kinds.is_floating(column.type) and bool(np.isnan(column.to_numpy()).all())
