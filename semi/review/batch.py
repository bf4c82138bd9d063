"""What is given away to be reviewed elsewhere: pool rows of a run, or those that a list names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..data.reviews import PICKS
from ..data.tables import read_table
from ..data.wording import counted, listed, shown
from ..errors import RunError, reading
from .done_rows import DoneRows
from .recommended import recommended
from .rows import ReviewTable


@dataclass
class BatchRow:
    """An utterance to be reviewed, and what the machine says of it."""

    id: str
    audio: str  # absolute; '' = it has none
    text: str
    start: float | None  # seconds within the file; None = all of it
    end: float | None
    machine_label: str  # '' = nothing was said, or the row is not of the pool
    machine_confidence: float | None
    pick: str  # one of semi.data.reviews.PICKS


def batch_of(
    table: ReviewTable, rows: str | Path = "", count: int | None = None,
    done: DoneRows | None = None,
) -> tuple[list[BatchRow], list[str]]:  # fmt: skip
    """Returns the rows to give away, in the order to review them in, and notes on those left out.

    Without a list these are the pool's, most worth a word first and every fifth one drawn at
    random. RunError where there is none, or where the list names one that the run does not have.

    Args:
        table: the run's rows.
        rows: a table with a column id, such as semi next writes, and perhaps pick.
        count: the first so many; None = all.
        done: rows that are not given away again; None: all are.
    """
    if count is not None and count < 1:
        raise RunError(f"-n must be 1 or more, got {count}")
    if rows:
        chosen = _listed(table, Path(rows))
    else:
        order, drawn = recommended(table)
        picks = np.where(drawn, "random", "next").tolist()
        chosen = list(zip(order.tolist(), picks, strict=True))
    if not chosen:
        raise RunError(f"{table.path}: no row is left to review; all of its rows have labels")
    notes = []
    if done is not None:
        ids = table.columns["id"]
        places = done.to_do([(ids[number], pick) for number, pick in chosen])
        notes = done.note(len(chosen) - len(places))
        chosen = [chosen[k] for k in places]
    return [_row(table, number, pick) for number, pick in chosen[:count]], notes


def _listed(table: ReviewTable, path: Path) -> list[tuple[int, str]]:
    """Returns the numbers and picks of the rows that a table names, in its order."""
    with reading(path, "a table of rows", "name a table with a column id, as semi next writes"):
        frame = read_table(path, path.read_bytes()).frame
    if "id" not in frame:
        raise RunError(f"{path} has no column id; name a table with one, as semi next writes")
    names = [str(name) for name in frame["id"].tolist() if name]
    picks = frame["pick"].tolist() if "pick" in frame else ["browse"] * len(frame)
    missing = [name for name in names if name not in table.number]
    if missing:
        raise RunError(
            f"{path} names {counted(len(missing), 'row')} that {table.path} does not have: "
            f"{listed([shown(name, 40) for name in missing], 3)}"
        )
    pairs = dict(zip(names, picks, strict=False))
    return [(table.number[n], p if p in PICKS else "browse") for n, p in pairs.items()]


def _row(table: ReviewTable, number: int, pick: str) -> BatchRow:
    cell = {name: column[number] for name, column in table.columns.items()}
    words = {n: cell[n] if isinstance(cell[n], str) else "" for n in ("audio", "text", "said")}
    numbers = {
        name: None if np.isnan(cell[name]) else round(float(cell[name]), 6)
        for name in ("start", "end", "confidence")
    }
    if cell["role"] != "pool":  # as on the page, nobody is told what to confirm of gold
        words["said"], numbers["confidence"] = "", None
    return BatchRow(
        cell["id"], words["audio"], words["text"], numbers["start"], numbers["end"], words["said"],
        numbers["confidence"], pick,
    )  # fmt: skip
