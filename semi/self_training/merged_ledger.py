"""The ledger of all finished rounds: those of the rounds, a piece after the other, with history.

Each round's ledger has the pool's rows in the pool's order, so a piece is read, completed and
written without the others: memory does not grow with the rounds, and little with the pool.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..evaluation.ledger_file import LEDGER_CSV, LEDGER_TABLE
from ..files import replacing
from ..formulas import guarded_table
from .ledger import ORDER
from .tasks.taught_rows import PIECE

if TYPE_CHECKING:
    import pyarrow as pa

HISTORY_COLUMNS = ("first_round", "last_round", "flips")


class RowHistory:
    """What has become of each of P pool rows so far, round by round."""

    def __init__(self, rows: int) -> None:
        self.first = np.full(rows, -1)  # (P,) first accepted round that learned from the row
        self.last = np.full(rows, -1)  # (P,) latest one
        self.flips = np.zeros(rows, np.int64)  # (P,) changes of its label
        self._label = np.full(rows, -1)  # (P,) number of its last label, -1 = none
        self._numbers: dict[str, int] = {}

    def add(self, start: int, piece: pa.Table) -> dict[str, np.ndarray]:
        """Returns first_round, last_round and flips (n,) of the pool rows from `start` on.

        Args:
            start: place in the pool of the piece's first row.
            piece: n rows of the ledger of one round; rounds come in order.
        """
        rows = slice(start, start + len(piece))
        number = piece["round"].to_numpy()
        accepted = piece["accepted"].to_numpy()
        first, last = self.first[rows], self.last[rows]  # views: written in place
        first[accepted & (first < 0)] = number[accepted & (first < 0)]
        last[accepted] = number[accepted]
        label, before = self._codes(piece["label"]), self._label[rows]
        self.flips[rows] += (before >= 0) & (before != label)
        self._label[rows] = label
        return {name: v[rows].copy() for name, v in
                zip(HISTORY_COLUMNS, (self.first, self.last, self.flips), strict=True)}  # fmt: skip

    def _codes(self, labels: pa.ChunkedArray) -> np.ndarray:
        """Returns each label's number (n,), the same in all pieces; -1 where there is none."""
        codes, words = labels.to_pandas().factorize()
        new = [self._numbers.setdefault(str(word), len(self._numbers)) for word in words]
        return np.array([*new, -1])[codes]


def write_merged(rounds: Sequence[Path], folder: Path, rows: int, *, as_csv: bool) -> None:
    """Writes ledger.parquet of all finished rounds, and ledger.csv where it is wanted.

    first_round and last_round are the first and the latest accepted round up to the row's own
    that learned from the utterance (-1 = none so far); flips counts changes of its label so far.

    Args:
        rounds: the ledger.parquet of each finished round from 1 on, in order.
        folder: the run's.
        rows: P, of the pool.
        as_csv: write ledger.csv too; else there is none.
    """
    schema = _schema(rounds)
    _write_parquet(folder / LEDGER_TABLE, schema, _pieces(rounds, rows, schema))
    if as_csv:
        _write_csv(folder / LEDGER_CSV, schema, _pieces(rounds, rows, schema))
    else:
        (folder / LEDGER_CSV).unlink(missing_ok=True)


def _schema(rounds: Sequence[Path]) -> pa.Schema:
    """Returns the columns of all rounds, and the history's."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    given = [pq.read_schema(path).remove_metadata() for path in rounds]
    if not given:
        given = [pa.schema([(name, pa.null()) for name in ORDER])]
    found = pa.unify_schemas(given, promote_options="permissive")
    names = [*ORDER, *(name for name in found.names if name not in ORDER)]
    fields = [found.field(name) for name in names]
    return pa.schema([*fields, *(pa.field(name, pa.int64()) for name in HISTORY_COLUMNS)])


def _pieces(rounds: Sequence[Path], rows: int, schema: pa.Schema) -> Iterator[pa.Table]:
    """Yields the merged ledger piece by piece."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    history = RowHistory(rows)
    for path in rounds:
        start = 0
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=PIECE):
                piece = pa.Table.from_batches([batch]).replace_schema_metadata(None)
                known: dict[str, Any] = dict(zip(piece.column_names, piece.columns, strict=True))
                known |= {name: pa.array(v) for name, v in history.add(start, piece).items()}
                start += len(piece)
                yield pa.table(
                    [known[f.name].cast(f.type) if f.name in known else pa.nulls(len(piece), f.type)
                     for f in schema], schema=schema,
                )  # fmt: skip


def _write_parquet(path: Path, schema: pa.Schema, pieces: Iterator[pa.Table]) -> None:
    import pyarrow.parquet as pq

    with replacing(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for piece in pieces:
            writer.write_table(piece)


def _write_csv(path: Path, schema: pa.Schema, pieces: Iterator[pa.Table]) -> None:
    with (
        replacing(path) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as file,
    ):
        head = guarded_table(schema.empty_table().to_pandas())
        head.to_csv(file, index=False, lineterminator="\n")
        for piece in pieces:
            table = guarded_table(piece.to_pandas())
            table.to_csv(file, index=False, header=False, lineterminator="\n")
