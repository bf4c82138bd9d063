"""Files written whole, so that a kill leaves no part of one."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from ..errors import StoreError, writing


def temporary(path: Path) -> Path:
    """Returns a fresh name beside `path` for a file that is not yet whole."""
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Writes a file so that a kill leaves either the old one or the new one, never a part.

    StoreError where the disk is full or the folder may not be written.
    """
    part = temporary(path)
    with writing(path, StoreError):
        try:
            with open(part, "wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        except BaseException:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise
    sync_folder(path.parent)


def remove_leftovers(path: Path) -> None:
    """Removes what killed writers of `path` left; the caller holds a lock that writers hold too."""
    for part in path.parent.glob(f".{path.name}.*.tmp"):
        part.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Makes renames inside `folder` survive a power cut, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
