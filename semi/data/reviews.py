"""reviews.csv: what people said of single utterances, line by line, appended and never changed.

A line says who judged which utterance how, when, and what the machine had said by then. Whoever
changes their mind adds a line; `undo` takes back the reviewer's last word on that utterance.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from datetime import datetime, timezone
from operator import attrgetter
from pathlib import Path

from ..errors import RunError, reading, writing
from ..formulas import guarded, unguarded
from .delimited import delimiter_of, split_lines
from .encodings import decode
from .wording import shown

REVIEWS = "reviews.csv"  # in a run's folder
FORMAT = "1"
VERDICTS = ("label", "unsure", "bad_audio", "undo")
PICKS = ("browse", "next", "random", "suspect", "import")
ENDS = re.compile(r"[\r\n]+")
LINE_REMEDY = "mend that line, or take it out: every other line stands for itself"


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
cells_of = attrgetter(*COLUMNS)  # a review's values, in this order


def append_review(path: str | Path, review: Review) -> Review:
    """Writes one line, on disk when this returns; returns it with the time it was given."""
    return append_reviews(path, [review])[0]


def append_reviews(path: str | Path, reviews: Iterable[Review]) -> list[Review]:
    """Writes lines, all on disk when this returns; returns them with the time they were given.

    Several processes may append to one file: it is one write, under a lock where there is one.
    """
    path = Path(path)
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    reviews = [review if review.time else replace(review, time=now) for review in reviews]
    with writing(path):
        try:
            handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        except FileNotFoundError:
            raise folder_gone(path) from None
        try:
            _lock(handle)
            size = os.fstat(handle).st_size
            _refuse_other_header(path, os.read(handle, 4096))
            text = "" if size else line_of(COLUMNS)
            if size and os.lseek(handle, -1, os.SEEK_END) and os.read(handle, 1) != b"\n":
                text = "\n"  # a kill cut the last line off
            left = memoryview((text + text_of(reviews)).encode())
            while left:
                left = left[os.write(handle, left) :]
            os.fsync(handle)
        finally:
            os.close(handle)
    return reviews


def folder_gone(path: Path) -> RunError:
    """Returns what is said where the folder of a list of reviews is not there, or no longer."""
    return RunError(
        f"{path}: there is no folder {path.resolve().parent}; if it was moved, bring it back, or "
        "begin anew where it is now"
    )


def _refuse_other_header(path: Path, start: bytes) -> None:
    """Raises RunError where lines of reviews would not fit below the first line of a file."""
    first = start.removeprefix(b"\xef\xbb\xbf").partition(b"\n")[0].rstrip(b"\r")
    if start and first.decode("utf-8", "replace") != line_of(COLUMNS).rstrip("\n"):
        raise RunError(
            f"{path} was saved by another program (its first line is no longer that of a list of "
            "reviews), so nothing is added to it; move it away, and bring it back with semi review "
            "RUN --import"
        )


def list_of(reviews: Iterable[Review]) -> str:
    """Returns the text of a whole list of reviews."""
    return line_of(COLUMNS) + text_of(reviews)


def text_of(reviews: Iterable[Review]) -> str:
    """Returns the lines of reviews, without the header."""
    return "".join(line_of(map(guarded, cells_of(review))) for review in reviews)


def read_reviews(path: str | Path) -> list[Review]:
    """Returns all lines in their order; none where there is no file, or an empty one.

    Also as a spreadsheet saves them: with a mark in front, semicolons or tabs, other line ends. A
    line without its end was cut off by a kill before anybody was told that it is kept: it is
    passed over. RunError names a line that is no review.
    """
    path = Path(path)
    if not path.exists():
        return []
    with reading(path, "a list of reviews", LINE_REMEDY):
        text = decode(path.read_bytes(), path)[0].lstrip("\ufeff")
    lines = split_lines(text)
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not numbered:
        return []
    delimiter = delimiter_of(numbered[0][1])
    header = [unguarded(name.strip().lower()) for name in _cells(numbered[0][1], delimiter)]
    if not {"id", "verdict"} <= set(header):
        raise RunError(
            f"{path} is no list of reviews: its first line must be {', '.join(COLUMNS)}, got "
            f"{shown(', '.join(header))}; a table filled in by hand comes in with semi review RUN "
            "--import"
        )
    names = [name if name in COLUMNS else "" for name in header]
    ours = tuple(header) == COLUMNS
    end, found = numbered[-1][0], []
    for number, line in numbered[1:]:
        row = _cells(line, delimiter)
        # we write whole lines: a short one before others, or without its end, was cut off
        if ours and len(row) < len(names) and (number < end or number == len(lines)):
            continue
        pairs = zip(names, row, strict=False)
        cells = {name: unguarded(cell) for name, cell in pairs if name}
        try:
            found.append(Review(**{"verdict": "", **cells}))
        except ValueError as error:
            raise RunError(f"{path}, line {number}: {error}; {LINE_REMEDY}") from None
    return found


def standing(reviews: list[Review]) -> dict[str, dict[str, Review]]:
    """Returns id -> reviewer -> that reviewer's last word on it, where it was not taken back."""
    found: dict[str, dict[str, list[Review]]] = {}
    for review in reviews:
        stack(found.setdefault(review.id, {}).setdefault(review.reviewer, []), review)
    last = {i: {who: words[-1] for who, words in by.items() if words} for i, by in found.items()}
    return {i: by for i, by in last.items() if by}


def stack(words: list[Review], review: Review) -> None:
    """Adds a word to a reviewer's that stand; `undo` takes the newest on its utterance away."""
    if review.verdict != "undo":
        words.append(review)
        return
    for place in range(len(words) - 1, -1, -1):
        if words[place].id == review.id:
            del words[place]
            return


def line_of(cells: Iterable[object]) -> str:
    """Returns a line of CSV; what would end it within a cell becomes a blank."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow([ENDS.sub(" ", str(cell)) for cell in cells])
    return out.getvalue()


def _cells(line: str, delimiter: str) -> list[str]:
    """Returns the cells of one line: a quote that a kill left open eats no other line."""
    if '"' not in line:
        return line.split(delimiter)
    return next(csv.reader([line], delimiter=delimiter))


def _lock(handle: int) -> None:
    """Waits until nobody else writes to the file; nothing where the system has no such locks."""
    try:
        import fcntl
    except ImportError:
        return
    fcntl.flock(handle, fcntl.LOCK_EX)
