"""The ledger of a finished run, read: the columns and the round that are asked for, no more.

Whatever reads `RUN/ledger.parquet` after training reads it here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import RunError, reading
from ..files import ANEW

if TYPE_CHECKING:
    import pandas as pd

LEDGER_TABLE, LEDGER_CSV = "ledger.parquet", "ledger.csv"
FOR_PEOPLE = (LEDGER_CSV, LEDGER_TABLE)  # the first that is there is the one to open


def ledger_of(
    run: str | Path, needed: Sequence[str], more: Collection[str] | None = (),
    number: int | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Returns rows of a run's ledger, in their order; texts are categories, so that few are kept.

    Args:
        run: its folder.
        needed: columns; RunError where one is missing.
        more: columns that are read if they are there; None = all others.
        number: of the round whose rows are wanted; None = of all.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(run, LEDGER_TABLE)
    with reading(path, "a table", ANEW):
        schema = pq.read_schema(path)
    if lacking := [name for name in (*needed, "round") if name not in schema.names]:
        raise RunError(f"{path} lacks the column {lacking[0]}; {ANEW}")
    wanted = [n for n in schema.names if n in needed or more is None or n in more]
    texts = [n for n in wanted if _is_text(schema.field(n).type)]
    if pa.types.is_null(schema.field("round").type):  # of no rounds: there is nothing to leave out
        number = None
    filters = None if number is None else [("round", "=", number)]
    with reading(path, "a ledger", ANEW):
        found: Any = pq.read_table(path, columns=wanted, filters=filters, read_dictionary=texts)
        return found.to_pandas()


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def last_round(run: str | Path) -> int:
    """Returns the number of the last round in a run's ledger, 0 where it has none."""
    path = Path(run, LEDGER_TABLE)
    if not path.is_file():
        return 0
    rounds: Any = ledger_of(run, ("round",))["round"]
    return int(rounds.max()) if len(rounds) else 0


def ledger_for_people(run: str | Path) -> Path:
    """Returns the ledger to open: as CSV where the run has it so."""
    paths = [Path(run, name) for name in FOR_PEOPLE]
    return next((path for path in paths if path.is_file()), paths[0])
