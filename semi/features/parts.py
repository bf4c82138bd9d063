"""Items of several sources written as one state: new files beside the old, then one rename."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..checksums import file_sha256, guarded
from ..errors import StoreError
from .files import sync_folder, temporary, write_whole
from .marks import mark
from .snapshot import INDEX, STORE_FORMAT, Snapshot, item_crcs, read_json


@dataclass
class Part:
    """One source of n items: what a folder holds, or a finished shard."""

    keys: np.ndarray  # (n,) S64
    seconds: np.ndarray  # (n,) float32
    lengths: np.ndarray | None  # (n,) int64 frames of each; None for vectors
    shape: tuple[int, ...]  # of an item, or of one frame
    read: Callable[[], np.ndarray]  # returns (n, *shape), or the packed frames (T_total, D)
    crc: np.ndarray | None = None  # (n,) of items whose checksums are known
    stored: bool = False  # it stands in the folder already


def part_of(snapshot: Snapshot) -> Part:
    """Returns what is stored, at least one item, as a part."""
    data = snapshot.data
    assert data is not None
    lengths = None if snapshot.offsets is None else np.diff(snapshot.offsets)
    return Part(snapshot.keys, snapshot.seconds, lengths, snapshot.shape, lambda: data,
                snapshot.crc, True)  # fmt: skip


def check_kind(folder: Path, first: Part, other: Part) -> None:
    """Raises StoreError where items of one encoder are of two kinds."""
    same_kind = (first.lengths is None) == (other.lengths is None)
    if not same_kind or first.shape != other.shape:
        modality = folder.name.rpartition("-")[0]
        raise StoreError(
            f"The {modality} encoder gave items of shape {other.shape}, but the feature "
            f"store at {folder} holds {first.shape} of the same encoder: its identity() "
            "leaves out something that changes the numbers"
        )


def write_union(folder: Path, parts: list[Part]) -> None:
    """Writes data, index and store.json of all items of some parts, each once, the first of equals.

    Nothing is written where the first part has them all. StoreError where that cannot be.

    Args:
        folder: of the shelf, whose lock the caller holds.
        parts: one at least, of items of one kind and shape; first what the folder holds, if any.
    """
    keys, first = np.unique(np.concatenate([p.keys for p in parts]), return_index=True)
    if parts[0].stored and len(keys) == len(parts[0].keys):
        return
    seconds = np.concatenate([p.seconds for p in parts])[first]
    ragged = parts[0].lengths is not None
    frames = np.ones(len(keys), np.int64)
    if ragged:
        frames = np.concatenate([p.lengths for p in parts if p.lengths is not None])[first]
    offsets = np.concatenate([[0], frames.cumsum()])
    place = np.full(sum(len(p.keys) for p in parts), -1, np.int64)
    place[first] = np.arange(len(keys))  # of each item of each part; -1 = it is there already
    target, listing = temporary(folder / "data"), temporary(folder / "index")
    try:
        data = _allocate(target, (int(offsets[-1]), *parts[0].shape))
        begin, crc = 0, np.zeros(len(keys), np.uint32)
        for part in parts:
            _scatter(data, crc, offsets, place[begin : begin + len(part.keys)], part)
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
        write_whole(folder / "store.json", lambda file: file.write(guarded(about).encode()))
    except (OSError, StoreError) as error:
        with contextlib.suppress(OSError):
            target.unlink(missing_ok=True)
            listing.unlink(missing_ok=True)
        if isinstance(error, StoreError):
            raise
        raise StoreError(
            f"The feature store at {folder} could not be written: {error.strerror or error}; free "
            "some space or set features.store to another folder, then run `semi extract` again "
            "(finished work is kept)"
        ) from error
    tidy(folder)


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
    data: np.ndarray, crc: np.ndarray, offsets: np.ndarray, place: np.ndarray, part: Part
) -> None:
    """Copies a part's items, and their checksums, to where they belong.

    An item that was stored before keeps the checksum it was stored with, so that bit rot is not
    given a new one.
    """
    take = np.flatnonzero(place >= 0)
    if not len(take):
        return
    source = part.read()
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


def tidy(folder: Path) -> None:
    """Removes what killed processes left half written; the caller holds the shelf's lock."""
    for path in leftovers(folder):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):  # a reader on Windows may still hold it
                path.unlink()


def leftovers(folder: Path) -> list[Path]:
    """Returns what does not belong to the current state, of writers that died or are at work."""
    about = folder / "store.json"
    current = read_json(about) if about.exists() else {}
    keep = {current[part]["name"] for part in ("data", "index") if part in current}
    found = []
    for path in folder.glob("*"):
        half = path.name.startswith(".") and path.name.endswith(".tmp")
        stray = path.name.startswith(("data-", "index-")) and path.name not in keep
        if half or stray:
            found.append(path)
    return found
