"""Files that carry their own checksum, for folders that grow file by file or line by line.

A guarded JSON's bytes follow from its contents alone, and its entry `sha256` is the SHA-256 of the
same JSON without that entry: no bit of it can change unseen. A guarded CSV has a last column `crc`,
the CRC-32 of its head and the rest of its line. Files of earlier versions have neither, and are
read unchecked.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import RunError, reading
from .files import ANEW, jsonable, write_text
from .shapes import misfit

OWN_SHA256 = "sha256"  # entry of a guarded JSON: the SHA-256 of all others
CRC = "crc"  # last column of a guarded CSV
CHANGED = "is not as it was written"


def guarded(value: Mapping[str, Any]) -> str:
    """Returns the JSON of a value with its own SHA-256; the same contents give the same bytes."""
    own = hashlib.sha256(_json(value).encode()).hexdigest()
    return _json({**value, OWN_SHA256: own})


def is_guarded(text: str) -> bool:
    """Says whether a text is what `guarded` gave, every bit of it."""
    value = json.loads(text)
    return guarded({k: v for k, v in value.items() if k != OWN_SHA256}) == text


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def write_guarded(path: str | Path, value: Mapping[str, Any]) -> None:
    """Writes a JSON that guards itself."""
    write_text(path, guarded({"format": 1, **jsonable(value)}))


def read_guarded(path: str | Path, shape: Any, remedy: str = ANEW) -> dict[str, Any] | None:
    """Returns what `write_guarded` wrote, None where there is no such file.

    RunError where any bit of it changed, and where one of an earlier version, which does not guard
    itself, does not fit the shape (see `semi.shapes`).
    """
    path = Path(path)
    if not path.is_file():
        return None
    with reading(path, "a JSON file", remedy):
        text = path.read_text(encoding="utf-8")
        value = json.loads(text)
    wrong = misfit(value, {})
    if not wrong and {OWN_SHA256, "format"} & value.keys() and not is_guarded(text):
        wrong = CHANGED
    wrong = wrong or misfit(value, shape)
    if wrong:
        raise RunError(f"{path} {wrong}; {remedy}")
    return {k: v for k, v in value.items() if k not in (OWN_SHA256, "format")}


def with_crc(line: str, head: str) -> str:
    """Returns a line of a CSV with the CRC-32 of its head and it as the last cell.

    The head, without its line end, so that no bit of it changes unseen either.
    """
    return f"{line},{zlib.crc32(f'{head}{line}'.encode()):08x}"


def changed_lines(path: str | Path) -> list[int]:
    """Returns the numbers, from 1, of the lines of a guarded CSV that are not as they were written.

    None of a CSV that has no column `crc`. RunError where the file cannot be read.
    """
    with reading(path, "a CSV text in UTF-8", ANEW):
        head, *lines = Path(path).read_bytes().decode("utf-8", "surrogateescape").split("\n")
        if not head.endswith(f",{CRC}"):
            return []
        last = [] if not lines[-1:] or not lines[-1] else [len(lines) + 1]  # cut off
        whole = lines[:-1]
        first, *raw = (line.encode("utf-8", "surrogateescape") for line in [head, *whole])
    return [
        k for k, line in enumerate(raw, 2)
        if f"{zlib.crc32(first + line.rpartition(b',')[0]):08x}".encode()
        != line.rpartition(b",")[2]
    ] + last  # fmt: skip
