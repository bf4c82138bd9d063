"""SHA-256 of the files of a folder, kept beside them, and what has become of them since.

A folder's record is `checksums.json`. It is written after the files it names, and guards itself:
its last entry is the SHA-256 of the others, and its bytes follow from its contents alone, so that
no bit of it can change unseen. Files that any command can make again (the report, kept answers)
stand in a second record, `derived.json`: an entry is taken out before its file is written and put
back afterwards, so that a kill in between leaves a file without an entry, which is made again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import RunError, reading
from .files import TEMPORARY, write_text
from .guarded_files import OWN_SHA256, guarded, is_guarded

CHECKSUMS_FORMAT = 1
# What a folder's record says of the files beside it; raised when an entry or column takes another
# meaning (see docs/formats.md). A record without them is of format 1.
FORMATS = {"run_format": 1, "ledger_format": 2}
CHECKSUMS, DERIVED = "checksums.json", "derived.json"
ADDED = "was added: semi wrote no such file there"
LEFT_OUT = {
    ".lock": "holds the number of the last process that wrote here",
    DERIVED: "guards itself",
    "reviews.csv": "grows by a line with every review",
    "next.csv": "is a list for people, made again by semi next",
    "suspects.csv": "is a list for people, made again by semi suspects",
}


def file_sha256(path: str | Path, length: int | None = None) -> str:
    """Returns the SHA-256 of a file's bytes, or of its first `length`, as 64 hexadecimal digits."""
    digest, left = hashlib.sha256(), length
    with open(path, "rb", buffering=0) as file:
        block = bytearray(1 << 20)
        view = memoryview(block)
        while size := file.readinto(view if left is None else view[: min(left, len(block))]):
            digest.update(view[:size])
            left = None if left is None else left - size
    return digest.hexdigest()


def files_below(folder: str | Path) -> list[str]:
    """Returns the sorted relative paths of the files below a folder; no writers' leftovers."""
    root, found = Path(folder), []
    for home, folders, names in os.walk(root):
        folders[:] = [f for f in folders if not f.startswith(TEMPORARY)]
        here = Path(home).relative_to(root)
        found += [(here / n).as_posix() for n in names if not n.startswith(TEMPORARY)]
    return sorted(found)


def digests(folder: str | Path, leave_out: tuple[str, ...] = ()) -> dict[str, str]:
    """Returns relative path -> SHA-256 of the files below a folder, its own record left out."""
    skipped = {CHECKSUMS, *LEFT_OUT, *leave_out}
    return {n: file_sha256(Path(folder, n)) for n in files_below(folder) if n not in skipped}


def seal(folder: str | Path, *, leave_out: tuple[str, ...] = (), **facts: Any) -> None:
    """Writes the record of a folder whose files are all written.

    Args:
        folder: the folder.
        leave_out: files that will not stay.
        facts: what else the record says, as JSON.
    """
    write_record(Path(folder, CHECKSUMS), {"files": digests(folder, leave_out), **facts})


def refuse_changed(folder: str | Path, names: Iterable[str] | None = None) -> None:
    """Raises RunError where a folder has a record and a file of it is not as it was written.

    Args:
        folder: the folder; without a record nothing is checked.
        names: the files to check; None = all of them.
    """
    record = read_record(Path(folder, CHECKSUMS)) if os.path.isdir(folder) else None
    files = record["files"] if record else {}
    chosen = {n: files[n] for n in (files if names is None else set(names) & files.keys())}
    for path, words in changes(Path(folder), chosen).items():
        raise RunError(f"{path} {words}; bring it back from a copy, or make the folder anew")


def write_record(path: Path, value: Mapping[str, Any]) -> None:
    """Writes a record that guards itself."""
    write_text(path, guarded({"format": CHECKSUMS_FORMAT, **value}))


def read_record(path: Path) -> dict[str, Any] | None:
    """Returns a record, None where there is none; RunError where any bit of it changed."""
    remedy = "bring the folder back from a copy, or make it anew"
    try:
        with reading(path, "a record of checksums", remedy):
            given = path.read_text(encoding="utf-8")
            record = json.loads(given)
            whole = is_guarded(given)
            record.pop(OWN_SHA256, None)
    except FileNotFoundError:
        return None
    later = record.get("format") in range(CHECKSUMS_FORMAT + 1, 100)  # may guard itself otherwise
    if not whole and not later:
        raise RunError(f"{path} is not as it was written; {remedy}")
    _refuse_newer(path, record)
    return record


class NewerFormatError(RunError):
    """A later version of semi wrote the folder."""


def _refuse_newer(path: Path, record: dict[str, Any]) -> None:
    """Raises NewerFormatError where a record has a greater number than is known here."""
    for name, known in ({"format": CHECKSUMS_FORMAT} | FORMATS).items():
        number = record.get(name, 1)
        if not isinstance(number, int) or number > known:
            where = path if name == "format" else path.parent
            raise NewerFormatError(
                f"{where} has {name} {number}, this version of semi reads up to {known}; use the "
                "version that wrote it, or a later one"
            )


def refuse_newer(folder: str | Path) -> None:
    """Raises RunError where a folder has a record that says a later version wrote it, or damage."""
    read_record(Path(folder, CHECKSUMS))


def changes(folder: Path, recorded: Mapping[str, str]) -> dict[str, str]:
    """Returns path -> what is wrong, of each recorded file that is missing or has changed."""
    found = {}
    for name, sha256 in sorted(recorded.items()):
        path = folder / name
        try:
            now = file_sha256(path)
        except (FileNotFoundError, NotADirectoryError):
            found[str(path)] = "is missing"
        except OSError as error:
            found[str(path)] = f"cannot be read: {error.strerror}"
        else:
            if now != sha256:
                found[str(path)] = (
                    f"is not as it was written (SHA-256 {sha256[:12]}..., now {now[:12]}...)"
                )
    return found


# --- files that any command can make again --------------------------------------------------------


@contextmanager
def derived(path: str | Path) -> Iterator[None]:
    """Keeps the SHA-256 of a derived file that the block writes, and of what it was made from."""
    path = Path(path)
    _note(path, None)
    yield
    _note(path, {"sha256": file_sha256(path), "of": _source(path.parent)})


def is_current(path: str | Path) -> bool:
    """Says whether a derived file is there, was made from its folder as it is now, and is whole.

    RunError where it has an entry and does not match it.
    """
    path = Path(path)
    entry = derived_files(path.parent).get(path.name)
    if entry is None or not path.is_file() or entry["of"] != _source(path.parent):
        return False
    if file_sha256(path) != entry["sha256"]:
        raise RunError(f"{path} is not as it was written; delete it, and it is made again")
    return True


def derived_files(folder: str | Path) -> dict[str, dict[str, str]]:
    """Returns name -> entry of the derived files that a folder's second record names."""
    record = read_record(Path(folder, DERIVED))
    return record["files"] if record else {}


def _note(path: Path, entry: dict[str, str] | None) -> None:
    try:
        known = derived_files(path.parent)
    except RunError:  # a damaged record is begun anew: its files are made again
        known = {}
    if entry is None and path.name not in known:
        return
    kept = {k: v for k, v in known.items() if k != path.name}
    write_record(path.with_name(DERIVED), {"files": kept | ({path.name: entry} if entry else {})})


def _source(folder: Path) -> str:
    """Returns the SHA-256 of a folder's record, "" where it has none."""
    with suppress(FileNotFoundError):
        return file_sha256(folder / CHECKSUMS)
    return ""
