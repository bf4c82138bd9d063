"""Finding and reading a corpus's files as they come: any nesting, encoding and line ending."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ManifestError
from .. import delimited
from ..checks import Problem, listing
from ..delimited import split_lines
from ..wording import counted, nearest, shown

if TYPE_CHECKING:
    import pandas as pd

SOUNDS = (".wav", ".flac", ".opus", ".ogg", ".mp3", ".m4a")  # the first found wins
FILMS = (".mp4", ".avi", ".mkv", ".mov", ".webm")  # whose sound is used where there is no other
HANGUL = re.compile("[\uac00-\ud7a3\u3131-\u318e]")  # syllables and letters
IGNORED_FOLDERS = ("__macosx",)  # what archives of other systems leave behind


class Tree:
    """Every file beneath a folder, listed once, but hidden ones; and which of them were read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.opened: set[Path] = set()  # sheets, labels and transcripts that were read
        self.ignored: dict[Path, str] = {}  # why a file that looks like a table was not

    @cached_property
    def files(self) -> list[Path]:
        """All files; shallow ones first, then by name."""
        found = []
        for where, folders, names in os.walk(self.folder, followlinks=True):
            folders[:] = [f for f in folders if f[0] != "." and f.lower() not in IGNORED_FOLDERS]
            found += [Path(where, name) for name in names if name[0] != "."]
        return sorted(found, key=lambda p: (len(p.parts), str(p)))

    def matching(self, pattern: str) -> list[tuple[Path, re.Match[str]]]:
        """Returns the files whose whole name matches `pattern` in any case, and the match."""
        name = re.compile(pattern, re.IGNORECASE)
        pairs = ((path, name.fullmatch(path.name)) for path in self.files)
        return [(path, match) for path, match in pairs if match]

    def stems(self, suffixes: Iterable[str], under: str = "") -> dict[str, Path]:
        """Returns {stem in lower case: file}; with `under` only beneath a folder of that name."""
        files = (path for path in self.files if not under or self.is_under(path, under))
        return best(((path.stem.lower(), path) for path in files), suffixes)

    def data(self, path: Path) -> bytes:
        """Returns the bytes of a file."""
        self.opened.add(path)
        return path.read_bytes()

    def text(self, path: Path) -> str:
        """Returns what `read_text` makes of a file."""
        self.opened.add(path)
        return read_text(path)

    def rows(self, path: Path) -> list[list[str]]:
        """Returns what `read_rows` makes of a file."""
        self.opened.add(path)
        return read_rows(path)

    def records(self, path: Path) -> list[dict[str, str]]:
        """Returns what `read_records` makes of a file."""
        self.opened.add(path)
        return read_records(path)

    def pass_over(self, path: Path, why: str) -> None:
        """Notes that a table was looked into and is not read, and why."""
        self.opened.discard(path)
        self.ignored[path] = why

    def is_under(self, path: Path, name: str) -> bool:
        """Says whether one of the folders between the tree's root and `path` is called `name`."""
        parts = path.relative_to(self.folder).parts[:-1]
        return name.lower() in (part.lower() for part in (self.folder.name, *parts))


def best(named: Iterable[tuple[Any, Path]], suffixes: Iterable[str]) -> dict[Any, Path]:
    """Returns {name: file} of (name, file): of several the suffix named first, then the first."""
    rank = {suffix: i for i, suffix in enumerate(suffixes)}
    found: dict[Any, Path] = {}
    for name, path in named:
        place = rank.get(path.suffix.lower())
        if place is not None and (name not in found or place < rank[found[name].suffix.lower()]):
            found[name] = path
    return found


def decode(data: bytes) -> str:
    """Returns the text of `data`: by its mark, else UTF-8, else CP949; what is neither becomes �.

    Unlike a manifest's, a transcript may be one word long, too short to guess among code pages.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    for encoding in ("utf-8-sig", "cp949"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("cp949", errors="replace")


def decode_korean(data: bytes) -> str:
    """Returns Korean text: `decode`, but the few CP949 words that are also valid UTF-8 stay Korean.

    A short transcript such as the CP949 bytes of '치킨' reads as two Latin letters in UTF-8.
    """
    text = decode(data)
    if text.isascii() or HANGUL.search(text):
        return text
    try:
        other = data.decode("cp949")
    except UnicodeDecodeError:
        return text
    return other if HANGUL.search(other) else text


def read_text(path: Path) -> str:
    """Returns the Korean text of a file on one line, without blanks at its ends."""
    text = decode_korean(path.read_bytes())
    return " ".join(text.replace("\ufeff", "").replace("\x00", "").split())


def read_rows(path: Path) -> list[list[str]]:
    """Returns the cells of a CSV, each without blanks at its ends; rows without any are left out.

    The delimiter is the comma, or the tab where the first line has more of them.

    Raises:
        ManifestError: a double quote is never closed; each such row is named.
    """
    text = decode(path.read_bytes()).replace("\ufeff", "").replace("\x00", "")
    lines = split_lines(text)
    head = next((line for line in lines if line.strip()), "")
    delimiter = "\t" if head.count("\t") > head.count(",") else ","
    records = delimited.read_records(lines, delimiter)
    if records.faults:
        problems = [Problem(path.name, *fault) for fault in records.faults]
        raise ManifestError(listing(problems, str(path)))
    cells = [[c.strip() for c in row] for row in records.cells]
    return [row for row in cells if any(row)]


def read_records(path: Path) -> list[dict[str, str]]:
    """Returns the rows of a CSV with one header row, by header in lower case without blanks."""
    rows = read_rows(path)
    if not rows:
        return []
    names = [plain(name) for name in rows[0]]
    return [dict(zip(names, row + [""] * len(names), strict=False)) for row in rows[1:]]


def to_table(records: list[dict[str, Any]]) -> pd.DataFrame:
    """Returns the records as a table whose missing texts are None, not NaN."""
    import pandas as pd

    table = pd.DataFrame(records)
    for name in table.columns:
        if not pd.api.types.is_numeric_dtype(table[name]):
            cells = [record.get(name) for record in records]
            table[name] = pd.Series(cells, dtype=object, index=table.index)
    return table


def plain(name: str) -> str:
    """Returns a header as compared: lower case, without blanks and underscores."""
    return re.sub(r"[\s_]+", "", name).lower()


def number(cell: str | None) -> float:
    """Returns the number in a cell, NaN where there is none."""
    try:
        value = float(cell or "nan")
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def one_of(option: str, value: str, allowed: Iterable[str]) -> str:
    """Returns `value` if the option allows it, else raises a ManifestError that says what may be.

    Options are words of the command line such as tags=strip.
    """
    known = list(allowed)
    if value not in known:
        raise ManifestError(
            f"{option}={value}: {option} is one of {', '.join(known)}{nearest(value, known)}"
        )
    return value


def examples(names: Iterable[str], count: int = 3) -> str:
    """Returns the first names, and that there are more."""
    names = list(names)
    return ", ".join(shown(name, 60) for name in names[:count]) + (
        " ..." if len(names) > count else ""
    )


def misnamed(names: Collection[str], what: str = "sound") -> str:
    """Returns what is said of files that do not follow a corpus's naming."""
    count = counted(len(names), what, "does", "do")
    return f"{count} not follow the naming and {'is' if len(names) == 1 else 'are'} left out"


def tally(counts: Mapping[str, int]) -> str:
    """Returns "neutral 10, happy 3": the largest first."""
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{shown(name, 40)} {n}" for name, n in ordered) or "none"
