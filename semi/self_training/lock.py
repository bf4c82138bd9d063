"""The lock of a run's folder: one process at a time writes there; the system frees it at death."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import RunError
from ..locks import FileLock, taken

__all__ = ["FileLock", "lock_of", "locked", "unlock"]


def lock_of(path: Path) -> FileLock:
    """Takes the folder's lock and returns it; RunError where another process holds it."""
    file = path / ".lock"
    number = _number(file)  # first: older releases of filelock empty the file
    lock = taken(file)
    if lock is None:
        who = f"process {number}" if number else "another process"
        raise RunError(f"{path} is being written by {who}; wait for it or stop it")
    if number is not None:  # else a note of filelock's own, where the file system has no locks
        with suppress(OSError):  # on Windows nobody writes to a locked file
            file.write_text(str(os.getpid()))
    return lock


def _number(file: Path) -> str | None:
    """Returns the number of the process that a lock's file names, "" if none, None if not ours."""
    with suppress(OSError):
        text = file.read_bytes()[:20].decode(errors="replace").strip()
        return text if not text or text.isdigit() else None
    return ""


def unlock(lock: FileLock | None) -> None:
    """Lets other processes write there."""
    if lock is not None:
        lock.release()


@contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Holds the lock of a run's folder for the block."""
    lock = lock_of(Path(path))
    try:
        yield
    finally:
        unlock(lock)
