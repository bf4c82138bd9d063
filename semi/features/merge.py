"""Puts finished shards into the store: new files beside the old, then one rename switches over."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..checksums import file_sha256, guarded
from ..errors import StoreError
from .files import sync_folder, temporary, write_whole
from .keys import KEY
from .marks import mark
from .quarantine import Failure, write_quarantine
from .store import INDEX, STORE_FORMAT, Shelf, Snapshot, item_crcs, read_json


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
    parts: list[_Part] = []
    if len(old):
        lengths = None if old.offsets is None else np.diff(old.offsets)
        parts.append(_Part(None, old.keys, old.seconds, lengths, old.shape, old.crc))
    for path in paths:
        shard = Shard.load(path)
        if shard is None:
            continue
        failures += shard.failures
        if len(shard.keys):
            shape = shard.data.shape[1:]
            parts.append(_Part(path, shard.keys, shard.seconds, shard.lengths, shape))
            _check_kind(shelf, parts[0], parts[-1])
    if parts:
        keys, first = np.unique(np.concatenate([p.keys for p in parts]), return_index=True)
        if len(keys) > len(old):
            _write(shelf, old, parts, keys, first)
    snapshot = shelf.open_copy()
    write_quarantine(shelf, failures, snapshot)
    return snapshot


def tidy(shelf: Shelf) -> None:
    """Removes what killed processes left half written; the caller holds the shelf's lock."""
    for path in leftovers(shelf):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):  # a reader on Windows may still hold it
                path.unlink()


def leftovers(shelf: Shelf) -> list[Path]:
    """Returns what does not belong to the current state, of writers that died or are at work."""
    about = shelf.folder / "store.json"
    current = read_json(about) if about.exists() else {}
    keep = {current[part]["name"] for part in ("data", "index") if part in current}
    found = []
    for path in shelf.folder.glob("*"):
        half = path.name.startswith(".") and path.name.endswith(".tmp")
        stray = path.name.startswith(("data-", "index-")) and path.name not in keep
        if half or stray:
            found.append(path)
    return found


@dataclass
class _Part:
    """One source of items: a shard file, or the old store where `path` is None."""

    path: Path | None
    keys: np.ndarray
    seconds: np.ndarray
    lengths: np.ndarray | None
    shape: tuple[int, ...]
    crc: np.ndarray | None = None  # (n,) of items whose checksums are known


def _check_kind(shelf: Shelf, first: _Part, other: _Part) -> None:
    same_kind = (first.lengths is None) == (other.lengths is None)
    if not same_kind or first.shape != other.shape:
        raise StoreError(
            f"The {shelf.modality} encoder gave items of shape {other.shape}, but the feature "
            f"store at {shelf.folder} holds {first.shape} of the same encoder: its identity() "
            "leaves out something that changes the numbers"
        )


def _write(
    shelf: Shelf,
    old: Snapshot,
    parts: list[_Part],
    keys: np.ndarray,
    first: np.ndarray,
) -> None:
    """Writes data, index and store.json; `keys` are sorted, `first` says where each comes from."""
    seconds = np.concatenate([p.seconds for p in parts])[first]
    ragged = parts[0].lengths is not None
    frames = np.ones(len(keys), np.int64)
    if ragged:
        frames = np.concatenate([p.lengths for p in parts if p.lengths is not None])[first]
    offsets = np.concatenate([[0], frames.cumsum()])
    place = np.full(sum(len(p.keys) for p in parts), -1, np.int64)
    place[first] = np.arange(len(keys))  # of each item of each part; -1 = it is there already
    target, listing = temporary(shelf.folder / "data"), temporary(shelf.folder / "index")
    try:
        data = _allocate(target, (int(offsets[-1]), *parts[0].shape))
        begin, crc = 0, np.zeros(len(keys), np.uint32)
        for part in parts:
            _scatter(data, crc, offsets, place[begin : begin + len(part.keys)], part, old)
            begin += len(part.keys)
            data.flush()
        del data
        _write_index(listing, key=keys, seconds=seconds, frames=frames, crc=crc)
        about = {
            "format": STORE_FORMAT,
            "items": len(keys),
            "ragged": ragged,
            "data": _settle(target, "data"),
            "index": _settle(listing, "index"),
        }
        write_whole(shelf.folder / "store.json", lambda file: file.write(guarded(about).encode()))
    except (OSError, StoreError) as error:
        with contextlib.suppress(OSError):
            target.unlink(missing_ok=True)
            listing.unlink(missing_ok=True)
        if isinstance(error, StoreError):
            raise
        raise StoreError(
            f"The feature store at {shelf.folder} could not be written: {error.strerror or error}; "
            "free some space "
            "or set features.store to another folder, then run `semi extract` again (finished "
            "work is kept)"
        ) from error
    tidy(shelf)


def _write_index(path: Path, **columns: np.ndarray) -> None:
    """Writes the index, one record an item, from its columns (K,)."""
    index = np.empty(len(columns["key"]), INDEX[STORE_FORMAT])
    for name, values in columns.items():
        index[name] = values
    with open(path, "wb") as file:
        np.save(file, index)


def _allocate(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """Returns a new memory-mapped array whose space on the disk is there already."""
    data = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    if hasattr(os, "posix_fallocate"):  # else a full disk would be a signal, not an error
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return data


def _scatter(
    data: np.ndarray, crc: np.ndarray, offsets: np.ndarray, place: np.ndarray, part: _Part,
    old: Snapshot,
) -> None:  # fmt: skip
    """Copies a part's items, and their checksums, to where they belong.

    An item that was stored before keeps the checksum it was stored with, so that bit rot is not
    given a new one.
    """
    take = np.flatnonzero(place >= 0)
    if not len(take):
        return
    source = old.data
    if part.path is not None:
        shard = Shard.load(part.path)
        if shard is None:
            raise OSError(f"{part.path} vanished or was damaged while it was read")
        source = shard.data
    assert source is not None
    lengths = np.ones(len(part.keys), np.int64) if part.lengths is None else part.lengths
    begin = np.concatenate([[0], lengths.cumsum()])
    known = item_crcs(source, begin) if part.crc is None else part.crc
    crc[place[take]] = known[take]
    if part.lengths is None:
        for rows in np.array_split(take, max(1, len(take) // 4096)):
            data[place[rows]] = source[rows]
        return
    for i in take:
        data[offsets[place[i]] : offsets[place[i] + 1]] = source[begin[i] : begin[i + 1]]


def _settle(path: Path, kind: str) -> dict[str, str | int]:
    """Gives a finished file the name of its contents; returns its entry in store.json."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
    sha256 = file_sha256(path)
    final = path.with_name(f"{kind}-{sha256[:16]}.npy")
    os.replace(path, final)
    sync_folder(path.parent)
    mark(final, sha256)
    return {"name": final.name, "bytes": final.stat().st_size, "sha256": sha256}
