"""reviews.csv: what people said of single utterances, line by line, appended and never changed.

A line says who judged which utterance how, when, and what the machine had said by then. Whoever
changes their mind adds a line; `undo` takes back the reviewer's last word on that utterance.
"""

from __future__ import annotations

import csv
import io
import os
from dataclasses import astuple, dataclass, fields
from datetime import datetime, timezone
from pathlib import Path

from ..errors import RunError, reading, writing
from ..formulas import guarded, unguarded

FORMAT = "1"
VERDICTS = ("label", "unsure", "bad_audio", "undo")
PICKS = ("browse", "next", "random", "suspect", "import")
REMEDY = "mend that line, or take it out: every other line stands for itself"


@dataclass(frozen=True)
class Review:
    """One line of reviews.csv."""

    id: str
    verdict: str  # one of VERDICTS
    label: str = ""  # of verdict label; several are a;b
    reviewer: str = ""
    time: str = ""  # ISO 8601 with its offset from UTC; '' = now, when it is appended
    run: str = ""  # name of the run whose answers the reviewer saw
    machine_label: str = ""  # what that run said; '' = the row was gold, or nothing was said
    machine_confidence: str = ""  # and how sure it was, 0 to 1
    pick: str = "browse"  # one of PICKS: how the reviewer came to it; random ones measure precision
    format: str = FORMAT

    def __post_init__(self) -> None:
        """Raises ValueError naming the first field that cannot be used."""
        if not self.id:
            raise ValueError("id is empty")
        if self.verdict not in VERDICTS:
            raise ValueError(f"verdict must be one of {', '.join(VERDICTS)}, got '{self.verdict}'")
        if (self.verdict == "label") != bool(self.label):
            raise ValueError("label must be given with verdict label, and with no other")
        if self.pick not in PICKS:
            raise ValueError(f"pick must be one of {', '.join(PICKS)}, got '{self.pick}'")
        if self.format != FORMAT:
            raise ValueError(
                f"format is {self.format}, this version of semi reads {FORMAT}; a newer one can"
            )


COLUMNS = tuple(field.name for field in fields(Review))


def append_review(path: str | Path, review: Review) -> Review:
    """Writes one line, on disk when this returns; returns it with the time it was given.

    Several processes may append to one file: a line is one write, under a lock where there is one.
    """
    path = Path(path)
    if not review.time:
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        review = Review(**{**vars(review), "time": now})
    with writing(path):
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            _lock(handle)
            size = os.fstat(handle).st_size
            text = "" if size else _line(COLUMNS)
            if size and os.lseek(handle, -1, os.SEEK_END) and os.read(handle, 1) != b"\n":
                text = "\n"  # a kill cut the last line off
            os.write(handle, (text + _line(guarded(cell) for cell in astuple(review))).encode())
            os.fsync(handle)
        finally:
            os.close(handle)
    return review


def read_reviews(path: str | Path) -> list[Review]:
    """Returns all lines in their order; none where there is no file.

    A line without its end was cut off by a kill before anybody was told that it is kept: it is
    passed over. RunError names a line that is no review.
    """
    path = Path(path)
    if not path.is_file():
        return []
    with reading(path, "a list of reviews", REMEDY):
        text = path.read_text(encoding="utf-8-sig")
    lines = [line for line in text.splitlines(keepends=True) if line.strip()]
    rows = list(csv.reader(line.rstrip("\r\n") for line in lines))
    if not rows or set(rows[0]) < {"id", "verdict"}:
        head = ", ".join(COLUMNS)
        raise RunError(f"{path} is no list of reviews: its first line must be {head}; {REMEDY}")
    found = []
    for number, row in enumerate(rows[1:], 2):
        cut_off = len(row) < len(rows[0]) and (number < len(rows) or not text.endswith("\n"))
        if cut_off:
            continue
        cells = dict(zip(rows[0], map(unguarded, row), strict=False))
        try:
            found.append(Review(**{k: v for k, v in cells.items() if k in COLUMNS}))
        except (TypeError, ValueError) as error:
            raise RunError(f"{path}, line {number}: {error}; {REMEDY}") from None
    return found


def standing(reviews: list[Review]) -> dict[str, dict[str, Review]]:
    """Returns id -> reviewer -> that reviewer's last word on it, where it was not taken back."""
    found: dict[str, dict[str, list[Review]]] = {}
    for review in reviews:
        words = found.setdefault(review.id, {}).setdefault(review.reviewer, [])
        if review.verdict != "undo":
            words.append(review)
        elif words:
            words.pop()
    last = {i: {who: words[-1] for who, words in by.items() if words} for i, by in found.items()}
    return {i: by for i, by in last.items() if by}


def _line(cells) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow([str(c).replace("\n", " ") for c in cells])
    return out.getvalue()


def _lock(handle: int) -> None:
    """Waits until nobody else writes to the file; nothing where the system has no such locks."""
    try:
        import fcntl
    except ImportError:
        return
    fcntl.flock(handle, fcntl.LOCK_EX)
