"""A mark on a file that passed a check, so that it is not read whole again."""

from __future__ import annotations

import os
from pathlib import Path


def mark(path: Path, sha256: str) -> None:
    """Notes on the file itself that it matched: microseconds of its time follow from the hash.

    A later change, or a copy, loses the mark, and so the next reader checks the whole file again.
    No second file has to be kept in step, and stores stay equal byte for byte.
    """
    try:
        status = path.stat()
        whole = status.st_mtime_ns // 1_000_000_000 * 1_000_000_000
        os.utime(path, ns=(status.st_atime_ns, whole + _microseconds(sha256) * 1000))
    except OSError:  # not ours to touch: it is checked again next time
        pass


def is_marked(path: Path, sha256: str) -> bool:
    """Returns whether the file still carries the mark of a check it passed."""
    return path.stat().st_mtime_ns % 1_000_000_000 // 1000 == _microseconds(sha256)


def _microseconds(sha256: str) -> int:
    return int(sha256[:12], 16) % 1_000_000
