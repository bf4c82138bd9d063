"""Rating sheets of KEMDy19 and KEMDy20: two header rows, a total, ten raters."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import ManifestError
from ..wording import counted
from .emotions import Spelling, add_votes
from .files import examples, number

# e.g. Sess01_script02_User003M_004 (KEMDy20) and Sess01_impro02_F001 (KEMDy19)
SEGMENT = re.compile(r"(Sess\d+)_((?:script|impro)\d+\w*?)_(User\d+[FM]_\d+|[FM]\d+)", re.I)
NO_NAME = re.compile(r"|\.\d+|Unnamed: ?\d+(_level_\d+)?", re.IGNORECASE)  # as pandas writes blanks


@dataclass
class Rating:
    """What one sheet says of one utterance."""

    id: str
    label: str | None  # 'a;b' is a tie
    valence: float  # 1 to 5, NaN where the cell is empty
    arousal: float
    votes: dict[str, float]


@dataclass
class Sheet:
    """A rating sheet: rows in the file's order."""

    path: Path
    ratings: list[Rating]
    strange: list[str] = field(default_factory=list)  # rows without an utterance id
    renamed: list[str] = field(default_factory=list)  # ids that carried another session's prefix


@dataclass
class SheetColumns:
    """Where a sheet keeps emotion, valence and arousal: of the total, and of each rater."""

    total: tuple[int, int, int]
    raters: list[tuple[int, int, int]]


def read_sheet(rows: list[list[str]], path: Path, session: str, spelling: Spelling) -> Sheet:
    """Returns the ratings in the rows of a sheet that belongs to `session` (such as Sess17).

    Ids with another session's prefix are mended: Sess17_eval.csv of KEMDy20 has such rows.
    """
    width = max((len(row) for row in rows), default=0)
    rows = [row + [""] * (width - len(row)) for row in rows]
    hits = Counter(j for row in rows for j, cell in enumerate(row) if SEGMENT.fullmatch(cell))
    if not hits:
        raise ManifestError(
            f"{path.name}: no cell holds a segment id such as Sess01_script01_User002M_001; is it "
            "a rating sheet?"
        )
    at = hits.most_common(1)[0][0]
    first = next(i for i, row in enumerate(rows) if SEGMENT.fullmatch(row[at]))
    columns = find_columns(rows[:first], at, width, path.name)
    sheet = Sheet(path, [])
    for row in rows[first:]:
        if not SEGMENT.fullmatch(row[at]):
            sheet.strange.append(row[at] or f"row {row[0]}")
            continue
        name = with_session(row[at], session)
        if name.lower() != row[at].lower():
            sheet.renamed.append(row[at])
        votes: dict[str, float] = {}
        for rater in columns.raters:
            add_votes(votes, spelling.names(row[rater[0]]))
        label, (_, valence, arousal) = spelling.label(row[columns.total[0]]), columns.total
        sheet.ratings.append(Rating(name, label, number(row[valence]), number(row[arousal]), votes))
    return sheet


def with_session(segment: str, session: str) -> str:
    """Returns the segment id with the prefix of `session`."""
    return session + segment[segment.index("_") :]


def find_columns(header: list[list[str]], at: int, width: int, name: str) -> SheetColumns:
    """Returns the columns by the header's names; without names by their order after the id's."""
    blocks = _blocks(header[0], width) if header else []
    below = [cell.lower() for cell in header[1]] if len(header) > 1 else [""] * width
    found = []
    for title, start, end in blocks:
        if not title.startswith(("total", "eval")):
            continue
        where = {below[j][:7]: j for j in range(end - 1, start - 1, -1) if below[j]}
        triple = [where.get(k, start + i) for i, k in enumerate(("emotion", "valence", "arousal"))]
        if max(triple) < width:
            found.append((title, (triple[0], triple[1], triple[2])))
    total = next((triple for title, triple in found if title.startswith("total")), None)
    if total is None:
        starts = range(at + 1, width - 2, 3)
        if not len(starts):
            raise ManifestError(f"{name}: no columns of ratings beside the segment id")
        return SheetColumns(_three(starts[0]), [_three(s) for s in starts[1:]])
    raters = [triple for title, triple in found if not title.startswith("total")]
    if not raters and blocks_after(blocks, total):  # titled by the raters' own names
        raters = [_three(s) for s in range(max(total) + 1, width - 2, 3)]
    return SheetColumns(total, raters)


def blocks_after(blocks: list[tuple[str, int, int]], total: tuple[int, int, int]) -> bool:
    """Says whether anything is titled to the right of the total's columns."""
    return any(start > max(total) for _, start, _ in blocks)


def _three(start: int) -> tuple[int, int, int]:
    return start, start + 1, start + 2


def _blocks(top: list[str], width: int) -> list[tuple[str, int, int]]:
    """Returns (title in lower case, first column, end): a title also covers the blanks after it."""
    starts = [j for j, cell in enumerate(top) if not NO_NAME.fullmatch(cell)]
    ends = [*starts[1:], width]
    return [(top[s].lower(), s, e) for s, e in zip(starts, ends, strict=True)]


def sheet_notes(sheets: list[Sheet]) -> list[str]:
    """Returns what was mended or left out while reading, in sentences."""
    notes = []
    for sheet in sheets:
        if sheet.renamed:
            notes.append(
                f"{sheet.path.name}: {counted(len(sheet.renamed), 'id')} carried another session's "
                f"prefix and are mended ({examples(sheet.renamed)})"
            )
        if sheet.strange:
            notes.append(
                f"{sheet.path.name}: {counted(len(sheet.strange), 'row')} without a segment id "
                f"left out ({examples(sheet.strange)})"
            )
    return notes
