"""`semi review RUN --static FILE`: the page as one file, with the sounds of its rows inside.

For somebody without semi. What they say stays in their browser until they download it as a CSV in
the form of reviews.csv.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..data.wording import counted
from ..errors import AudioError, RunError
from ..files import write_text
from .done_rows import DoneRows, done_rows
from .page import render_page
from .recommended import recommended
from .rows import ReviewTable, review_table
from .shown import detail
from .sound import Sounds

MOST_ROWS = 60
MOST_SUSPECTS = 15  # of these, where the run has suspects
MOST_BYTES = 4_600_000  # of all sounds as text; the page itself has some 60 kB


@dataclass
class StaticPage:
    """What became of a page in one file."""

    path: Path
    rows: int
    random: int  # rows that were drawn at random
    sounds: int
    bytes: int
    notes: list[str]  # rows without a sound, and why

    def __str__(self) -> str:
        """Returns what was written, and how corrections come back."""
        size = f"{self.bytes / 1e6:.1f} MB"
        return "\n".join(
            [f"note: {note}" for note in self.notes]
            + [f"{self.path}: {counted(self.rows, 'row')} ({self.random} drawn at random), "
               f"{counted(self.sounds, 'sound')}, {size}; needs a browser and nothing else. "
               "What is said there is downloaded as a CSV in the form of reviews.csv"]
        )  # fmt: skip


def write_static(
    run: str | Path, path: str | Path, *, reviewer: str = "", again: bool = False,
    places: Sequence[str] = (),
) -> StaticPage:  # fmt: skip
    """Writes the review page of a finished run as one HTML file.

    Args:
        run: the run's folder.
        path: the file to write.
        reviewer: name to begin with; '' = the page asks.
        again: also rows that the reviewer has judged, or without one anybody.
        places: where the run's data are now, such as data.manifest=moved/table.csv.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise RunError(f"--static writes a page: name it .html, such as review.html, not '{path}'")
    if path.is_dir():
        raise RunError(f"{path} is a folder; name a file in it, such as {path / 'review.html'}")
    table = review_table(run, places)
    chosen, done = _chosen(table, None if again else done_rows(table.path, reviewer))
    sounds, rows, notes, left = Sounds(table), [], [*table.notes, *done], MOST_BYTES
    for number, pick in chosen:
        row = detail(table, number, None) | {"pick": pick, "mp3": ""}
        if row["sound"]:
            try:
                row["mp3"] = base64.b64encode(sounds.mp3(number)).decode()
            except AudioError as error:
                notes.append(f"{row['id']} cannot be heard: {error}")
        if len(row["mp3"]) > left:
            notes.append(f"from {row['id']} on rows are left out: the page would be too large")
            break
        left -= len(row["mp3"])
        row["sound"] = bool(row["mp3"])
        rows.append(row)
    text, _ = render_page(table, reviewer, rows, made=secrets.token_hex(8))
    write_text(path, text)
    random = sum(row["pick"] == "random" for row in rows)
    heard = sum(row["sound"] for row in rows)
    return StaticPage(path, len(rows), random, heard, path.stat().st_size, notes)


def _chosen(table: ReviewTable, done: DoneRows | None) -> tuple[list[tuple[int, str]], list[str]]:
    """Returns the numbers of the rows most worth a word, how each was picked, and notes.

    Those that are `done` are left out, and a note says how many there are.
    """
    order, is_random = recommended(table)
    pool: list[tuple[int, str]]
    pool = [(n, "random" if r else "next") for n, r in zip(order.tolist(), is_random, strict=True)]
    suspects: list[tuple[int, str]] = []
    if "suspects" in table.columns:
        places = table.columns["suspects"]
        gold = np.flatnonzero(~np.isnan(places) & (table.columns["role"] == "labeled"))
        first = gold[np.argsort(places[gold], kind="stable")]
        suspects = [(int(n), "suspect") for n in first]
    notes = []
    if done is not None:
        given = [*pool, *suspects]
        asked = [(str(table.columns["id"][n]), pick) for n, pick in given]
        kept = [given[k] for k in done.to_do(asked)]
        notes = done.note(len(given) - len(kept))
        pool = [pair for pair in kept if pair[1] != "suspect"]
        suspects = [pair for pair in kept if pair[1] == "suspect"]
    suspects = suspects[:MOST_SUSPECTS]
    return [*pool[: MOST_ROWS - len(suspects)], *suspects], notes
