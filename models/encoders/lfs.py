"""Git LFS pointers: small text files that stand where a large file was not downloaded."""

from __future__ import annotations

import shlex
from pathlib import Path

START = b"version https://git-lfs.github.com/spec/"


def is_lfs_pointer(path: Path) -> bool:
    """Returns whether the file is a Git LFS pointer; False where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(START)) == START
    except OSError:
        return False


def pulled_by(path: Path) -> str:
    """Returns the command, to be pasted, that puts the real file in the pointer's place."""
    return f"run: git -C {shlex.quote(str(path.parent))} lfs pull"
