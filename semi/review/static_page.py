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
    run: str | Path, path: str | Path, *, reviewer: str = "", places: Sequence[str] = ()
) -> StaticPage:
    """Writes the review page of a finished run as one HTML file.

    Args:
        run: the run's folder.
        path: the file to write.
        reviewer: name to begin with; '' = the page asks.
        places: where the run's data are now, such as data.manifest=moved/table.csv.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise RunError(f"--static writes a page: name it .html, such as review.html, not '{path}'")
    if path.is_dir():
        raise RunError(f"{path} is a folder; name a file in it, such as {path / 'review.html'}")
    table = review_table(run, places)
    chosen = _chosen(table)
    sounds, rows, notes, left = Sounds(table), [], list(table.notes), MOST_BYTES
    for number, pick in chosen:
        row = detail(table, number, None) | {"pick": pick, "opus": ""}
        if row["sound"]:
            try:
                row["opus"] = base64.b64encode(sounds.opus(number)).decode()
            except AudioError as error:
                notes.append(f"{row['id']} cannot be heard: {error}")
        if len(row["opus"]) > left:
            notes.append(f"from {row['id']} on rows are left out: the page would be too large")
            break
        left -= len(row["opus"])
        row["sound"] = bool(row["opus"])
        rows.append(row)
    text, _ = render_page(table, reviewer, rows, made=secrets.token_hex(8))
    write_text(path, text)
    random = sum(row["pick"] == "random" for row in rows)
    heard = sum(row["sound"] for row in rows)
    return StaticPage(path, len(rows), random, heard, path.stat().st_size, notes)


def _chosen(table: ReviewTable) -> list[tuple[int, str]]:
    """Returns the numbers of the rows most worth a word, and how each was picked."""
    order, is_random = recommended(table)
    suspects: list[tuple[int, str]] = []
    if "suspects" in table.columns:
        places = table.columns["suspects"]
        gold = np.flatnonzero(~np.isnan(places) & (table.columns["role"] == "labeled"))
        first = gold[np.argsort(places[gold], kind="stable")][:MOST_SUSPECTS]
        suspects = [(int(n), "suspect") for n in first]
    left = MOST_ROWS - len(suspects)
    pool = zip(order[:left].tolist(), is_random[:left], strict=True)
    return [(n, "random" if drawn else "next") for n, drawn in pool] + suspects
