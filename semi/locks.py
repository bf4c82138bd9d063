"""Locks between processes, by the `filelock` package: the system frees them at a holder's death."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from .errors import SemiError

__all__ = ["FileLock", "held", "taken"]


def taken(path: Path, *, wait: bool = False) -> FileLock | None:
    """Returns the lock on `path`, held from now on; None if another holds it and `wait` is not set.

    The file is made where there is none, and its folder as well. Each call opens the file anew, so
    that two calls of one process exclude each other, too. SemiError where the file system has no
    locks; OSError where the file cannot be made.
    """
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        return None
    except NotImplementedError as error:
        raise SemiError(
            f"{path} cannot be locked: its file system has no locks; take a folder on another one"
        ) from error
    return lock


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Holds the lock on `path` for the length of a `with` block; waits for it."""
    lock = taken(path, wait=True)
    assert lock is not None
    try:
        yield
    finally:
        lock.release()
