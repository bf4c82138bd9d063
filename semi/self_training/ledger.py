"""The ledger: one row per pool utterance and round; who was taken, why, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pseudo_label.pool import REASONS

from ..errors import RunError, reading
from ..files import ANEW, replacing
from ..training.dataset import Dataset
from .confidence import round_confidence
from .outside import outside_columns, shares_on_gold
from .state import RoundState
from .tasks import Task
from .tasks.taught_rows import PIECE, taught_rows

if TYPE_CHECKING:
    import pyarrow as pa

ORDER = ["id", "round", "chosen", "accepted", "label", "weight", "reason", "rule", "threshold"]
FULL = ("id", "round", "chosen", "accepted", "reason", "rule")  # a value in every row


def round_rows(
    dataset: Dataset, state: RoundState, before: RoundState, rule: str, task: Task
) -> Iterator[pd.DataFrame]:
    """Yields a round's (P, columns) table as known when it was judged, some rows after the other.

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
    sure = round_confidence(dataset, state).cpu().numpy() if task.one_class else None
    voters = shares_on_gold(dataset) if task.one_class else []
    for taught in taught_rows(dataset, pseudo_labels, before):
        part = taught.rows
        rows = dataset.pool[part].cpu().numpy()
        chosen = pseudo_labels.chosen[-1, part].cpu().numpy()
        table = {
            "id": dataset.ids[rows],
            "round": np.full(len(rows), state.number),
            "chosen": chosen,
            "accepted": chosen & state.accepted,
            "weight": pseudo_labels.weight[-1, part].cpu().numpy().round(6),
            "reason": np.array(REASONS, dtype=object)[pseudo_labels.reason[part].cpu().numpy()],
            "rule": np.full(len(rows), rule, dtype=object),
        }
        table |= task.columns(taught)
        if task.one_class:
            table |= outside_columns(dataset, dataset.pool[part], voters)
        if sure is not None:
            table["confidence"] = sure[part].round(6)
        yield pd.DataFrame(table, columns=[*ORDER, *(c for c in table if c not in ORDER)])


def write_round_ledger(path: Path, pieces: Iterator[pd.DataFrame]) -> None:
    """Writes the ledger of a round, piece by piece; memory does not grow with the pool."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with replacing(path) as temporary:
        first = pa.Table.from_pandas(next(pieces), preserve_index=False)
        kinds = [  # of words that no row of the first piece has, others may
            pa.field(f.name, pa.string()) if pa.types.is_null(f.type) else f for f in first.schema
        ]
        schema = pa.schema(kinds, first.schema.metadata)
        with pq.ParquetWriter(temporary, schema) as writer:
            writer.write_table(first.cast(schema))
            for piece in pieces:
                writer.write_table(pa.Table.from_pandas(piece, schema, preserve_index=False))


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
    start, same = 0, True
    with reading(path, "a table", ANEW), pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=PIECE, columns=looked):
            for name in looked:
                column = batch.column(name)
                empty = column.null_count == len(batch)
                full = column.null_count == 0 and _of_kind(schema.field(name))
                if not (full if name in FULL else empty or _only_nan(column)):
                    raise RunError(
                        f"{path} has other values than semi writes in column {name}; {ANEW}"
                    )
            mine = pa.array(ids[start : start + len(batch)], pa.large_string())
            same = same and batch.column("id").cast(pa.large_string()).equals(mine)
            same = same and bool((batch.column("round").to_numpy() == number).all())
            start += len(batch)
    if not same or start != len(ids):
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


def _only_nan(column: pa.Array) -> bool:
    """Says whether a column holds no number at all."""
    import pyarrow.types as kinds

    return kinds.is_floating(column.type) and bool(
        np.isnan(column.to_numpy(zero_copy_only=False)).all()
    )
