"""Puts finished shards into the store."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .files import write_whole
from .keys import KEY
from .parts import Part, check_kind, part_of, write_union
from .quarantine import Failure, write_quarantine
from .snapshot import Snapshot
from .store import Shelf


@dataclass
class Shard:
    """A worker's finished piece of work."""

    keys: np.ndarray  # (n,) S64
    seconds: np.ndarray  # (n,) float32
    data: np.ndarray  # (n, *shape) float32, or packed frames (T_total, D)
    lengths: np.ndarray | None  # (n,) int64 frames of each item; None for vectors
    failures: list[Failure] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Writes the shard whole."""
        failed = json.dumps([vars(f) for f in self.failures]).encode()
        arrays = {
            "keys": self.keys.astype(KEY),
            "seconds": self.seconds.astype(np.float32),
            "data": self.data.astype(np.float32),
            "failed": np.frombuffer(failed, np.uint8),
        }
        if self.lengths is not None:
            arrays["lengths"] = self.lengths.astype(np.int64)
        write_whole(path, lambda file: np.savez(file, **arrays))

    @classmethod
    def load(cls, path: Path) -> Shard | None:
        """Returns the shard; None, and no file any more, if it is damaged (it is made again)."""
        try:
            with np.load(path, allow_pickle=False) as arrays:  # zip checks each array's CRC
                failed = json.loads(arrays["failed"].tobytes())
                lengths = arrays.get("lengths")
                return cls(
                    arrays["keys"],
                    arrays["seconds"],
                    arrays["data"],
                    lengths,
                    [Failure(**words) for words in failed],
                )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            path.unlink(missing_ok=True)
            return None

    def part(self, path: Path) -> Part:
        """Returns its items as a part, whose data are read from the file again when needed."""

        def read() -> np.ndarray:
            again = Shard.load(path)
            if again is None:
                raise OSError(f"{path} vanished or was damaged while it was read")
            return again.data

        return Part(self.keys, self.seconds, self.lengths, self.data.shape[1:], read)


def merge(shelf: Shelf, paths: Iterable[Path]) -> Snapshot:
    """Adds the shards at `paths` to the shelf and returns it; the caller holds the shelf's lock.

    An item that is there already stays as it is, so merging twice changes nothing. Where another
    writer of an object store was faster, its items are taken in first.
    """
    paths = sorted(paths)
    while True:
        snapshot = _merge_once(shelf, paths)
        if shelf.remote is None or shelf.remote.push():
            return snapshot


def _merge_once(shelf: Shelf, paths: list[Path]) -> Snapshot:
    old = shelf.open()
    if len(old) and old.crc is None:  # format 1: from now on each item has a checksum
        old = shelf.open(verify=True)
    failures: list[Failure] = []
    parts = [part_of(old)] if len(old) else []
    for path in paths:
        shard = Shard.load(path)
        if shard is None:
            continue
        failures += shard.failures
        if len(shard.keys):
            parts.append(shard.part(path))
            check_kind(shelf.folder, parts[0], parts[-1])
    if parts:
        write_union(shelf.folder, parts)
    snapshot = shelf.open_copy()
    write_quarantine(shelf, failures, snapshot)
    return snapshot
