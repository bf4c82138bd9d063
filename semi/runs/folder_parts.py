"""Are the files of a folder that grows as they were written? Those of a search, a benchmark, ...

Such a folder has no record of all its files: each guards itself (see `semi.guarded_files`) or
stands in `derived.json`.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..checksums import DERIVED, LEFT_OUT, changes, derived_files, files_below
from ..errors import RunError, SemiError
from ..guarded_files import CHANGED, CRC, OWN_SHA256, changed_lines, read_guarded
from ..self_training.integrity import IntegrityReport
from ..training.finetune.checkpoint import CHECKPOINT, state_of


def inspect_parts(home: Path) -> IntegrityReport:
    """Returns what is damaged or missing of the files that guard themselves, or are derived."""
    found = IntegrityReport()
    try:
        entries = derived_files(home)
        found.files += bool(entries)
    except RunError as error:
        entries = {}
        found.say(home / DERIVED, _reason(error, home / DERIVED))
    for name in sorted(set(files_below(home)) | set(entries)):
        path = home / name
        if name in entries:
            wrong = changes(home, {name: entries[name]["sha256"]}).get(str(path), "")
            wrong = wrong and f"{wrong}; delete it, and it is made again"
        elif name in LEFT_OUT:
            continue
        else:
            wrong = _own(path, found)
        if wrong is None:
            found.notes.append(f"{path} has no checksum")
            continue
        found.files += 1
        if wrong:
            found.say(path, wrong)
    return found


def _own(path: Path, found: IntegrityReport) -> str | None:
    """Returns what is wrong with a file that guards itself, '' if nothing, None if it does not."""
    try:
        if path.name == CHECKPOINT:
            state_of(path)
            return ""
        if path.suffix == ".csv":
            return _lines(path)
        if path.suffix != ".json":
            return None
        value = read_guarded(path, {})
    except SemiError as error:
        return _reason(error, path)
    with suppress(ValueError):
        if OWN_SHA256 not in json.loads(path.read_text(encoding="utf-8")):
            return None
    _recorded(path.parent, (value or {}).get("files"), found)
    return ""


def _recorded(home: Path, files: Any, found: IntegrityReport) -> None:
    """Adds what is wrong with the files that a guarded JSON names."""
    for subject, words in changes(home, files or {}).items():
        found.say(subject, words)


def _lines(path: Path) -> str | None:
    with open(path, "rb") as file:
        head = file.readline().rstrip(b"\n")
    if not head.endswith(f",{CRC}".encode()):
        return None if b"," in head and not _other(head) else f"{CHANGED} in line 1"
    changed = changed_lines(path)
    return f"{CHANGED} in line {changed[0]}" if changed else ""


def _other(head: bytes) -> bool:
    """Says whether a head almost ends in the column of checksums: a bit of it was flipped."""
    last = head[-len(CRC) - 1 :]
    wanted = f",{CRC}".encode()
    return sum(a != b for a, b in zip(last, wanted, strict=False)) == 1


def _reason(error: Exception, path: Path) -> str:
    return str(error).removeprefix(f"{path} ").partition(";")[0]
