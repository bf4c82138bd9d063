"""The lock of a run's folder: one process at a time writes there; the system frees it at death."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import RunError


def lock_of(path: Path) -> int:
    """Takes the folder's lock and returns its descriptor; the system frees it when we die."""
    descriptor = os.open(path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        import fcntl
    except ImportError:  # Windows has no flock: two processes in one run are not refused there
        return descriptor
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
        os.close(descriptor)
        who = f"process {holder}" if holder else "another process"
        raise RunError(f"{path} is being written by {who}; wait for it or stop it") from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor


def unlock(descriptor: int | None) -> None:
    """Lets other processes write there."""
    if descriptor is not None:
        os.close(descriptor)


@contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Holds the lock of a run's folder for the block."""
    lock = lock_of(Path(path))
    try:
        yield
    finally:
        unlock(lock)
