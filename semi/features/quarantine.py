"""The items of a shelf that could not be encoded, and why: quarantine.csv, each line guarded."""

from __future__ import annotations

import csv
import io
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..formulas import guarded, unguarded
from .files import write_whole
from .keys import KEY
from .snapshot import Snapshot
from .store import Shelf

QUARANTINE_COLUMNS = ("key", "id", "path", "reason")
CRC = "crc"  # of the other columns; files of earlier versions lack it


@dataclass
class Failure:
    """One item that could not be encoded."""

    key: str
    id: str
    path: str
    reason: str


def read_quarantine(shelf: Shelf) -> dict[str, str]:
    """Returns the reason for each item that could not be encoded, by key."""
    return {key: unguarded(row["reason"]) for key, row in _rows(shelf).items()}


def failures_of(shelf: Shelf) -> list[Failure]:
    """Returns the items that could not be encoded."""
    return [
        Failure(key, *(unguarded(row[name]) for name in ("id", "path", "reason")))
        for key, row in _rows(shelf).items()
    ]


def write_quarantine(shelf: Shelf, failures: list[Failure], snapshot: Snapshot) -> None:
    """Adds the failures to quarantine.csv and takes out what has been encoded since."""
    path = shelf.folder / "quarantine.csv"
    rows = _rows(shelf)
    rows.update({f.key: _as_read(f) for f in failures})
    names = sorted(rows)
    present = snapshot.find(np.array(names, KEY)) >= 0
    if present.all():
        path.unlink(missing_ok=True)
        return
    content = _text([rows[n] for n, stored in zip(names, present, strict=True) if not stored])
    if not path.exists() or path.read_bytes() != content:
        write_whole(path, lambda file: file.write(content))


def _rows(shelf: Shelf) -> dict[str, dict[str, str]]:
    """Returns the lines of quarantine.csv by key; StoreError where one has changed."""
    path = shelf.folder / "quarantine.csv"
    found = [path.read_bytes()] if path.exists() else []
    if shelf.remote is not None:  # what other writers put in the same instant
        found += shelf.remote.lists[1:]
    rows = dict[str, dict[str, str]]()
    for content in reversed(found):
        rows.update(_read(shelf, path, content))
    return rows


def _read(shelf: Shelf, path: Path, content: bytes) -> dict[str, dict[str, str]]:
    """Returns the lines of one list by key."""
    try:
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8"), newline="")))
    except (ValueError, csv.Error) as error:
        raise shelf.damaged(f"{path.name} cannot be read ({error})") from None
    head = content.partition(b"\n")[0].decode()
    if head not in (",".join(QUARANTINE_COLUMNS), ",".join([*QUARANTINE_COLUMNS, CRC])):
        raise shelf.damaged(f"line 1 of {path.name} is not as it was written")
    for number, row in enumerate(rows, 2):
        if not _complete(row) or row.get(CRC, _crc(row)) != _crc(row):
            raise shelf.damaged(f"line {number} of {path.name} is not as it was written")
    if CRC in head and content != _text(rows):
        raise shelf.damaged(f"{path.name} is not as it was written")
    return {row["key"]: row for row in rows}


def _text(rows: list[dict[str, str]]) -> bytes:
    """Returns the file of these rows."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*QUARANTINE_COLUMNS, CRC])
    writer.writerows([*(row[c] for c in QUARANTINE_COLUMNS), _crc(row)] for row in rows)
    return text.getvalue().encode("utf-8")


def _complete(row: dict) -> bool:
    return None not in row and all(isinstance(value, str) for value in row.values())


def _as_read(failure: Failure) -> dict[str, str]:
    """Returns a failure's columns as they come back from the file."""
    words = vars(failure).items()
    texts = {name: str(v).encode("utf-8", "backslashreplace").decode() for name, v in words}
    return {name: guarded(text) for name, text in texts.items()}


def _crc(row: dict[str, str]) -> str:
    return f"{zlib.crc32(chr(0).join(row[c] for c in QUARANTINE_COLUMNS).encode()):08x}"
