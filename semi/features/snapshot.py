"""What a shelf of the feature store holds at one moment, opened and checked.

Letters: N items, D numbers of a frame, T_total frames of all items.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..checksums import OWN_SHA256, file_sha256, is_guarded
from ..data.wording import counted
from ..errors import StoreError
from .keys import KEY
from .marks import is_marked, mark

STORE_FORMAT = 2
# 1 had no `crc` and its store.json did not guard itself; it is read, and becomes 2 with new items
INDEX = {
    1: np.dtype([("key", KEY), ("seconds", "<f4"), ("frames", "<i8")]),
    2: np.dtype([("key", KEY), ("seconds", "<f4"), ("frames", "<i8"), ("crc", "<u4")]),
}


@dataclass
class Snapshot:
    """What a shelf held at one moment; its memory map stays valid while others write."""

    keys: np.ndarray  # (N,) S64, sorted
    seconds: np.ndarray  # (N,) float32, length of the sound; NaN for other sources
    data: np.ndarray | None  # (N, *shape) float32, or (T_total, D) of packed frames; None if N = 0
    offsets: np.ndarray | None  # (N + 1,) int64, where each item's frames begin; None for vectors
    crc: np.ndarray | None = None  # (N,) uint32 CRC-32 of each item's bytes; None in format 1
    folder: Path = Path()  # of the shelf

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one item, or of one frame."""
        return () if self.data is None else self.data.shape[1:]

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Returns each key's position (n,) int64, -1 where it is absent."""
        keys = np.asarray(keys, KEY)
        if not len(self):
            return np.full(len(keys), -1, np.int64)
        at = np.searchsorted(self.keys, keys).clip(max=len(self) - 1)
        return np.where(self.keys[at] == keys, at, -1)

    def rows(self, at: np.ndarray) -> np.ndarray:
        """Returns the vectors at positions (n,), as (n, *shape) float32; StoreError on bit rot."""
        assert self.data is not None and self.offsets is None
        values = np.asarray(self.data.take(at, axis=0))
        self._check(at, values, np.arange(len(at) + 1))
        return values

    def frames(self, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the frames at positions (n,): packed (T_total, D) and offsets (n + 1,)."""
        assert self.data is not None and self.offsets is not None
        start = self.offsets[at]
        length = self.offsets[at + 1] - start
        offsets = np.concatenate([[0], length.cumsum()])
        pick = np.arange(offsets[-1]) + np.repeat(start - offsets[:-1], length)
        values = np.asarray(self.data.take(pick, axis=0))
        self._check(at, values, offsets)
        return values, offsets

    def _check(self, at: np.ndarray, values: np.ndarray, offsets: np.ndarray) -> None:
        """Raises StoreError where items do not have the CRC-32 they were stored with."""
        if self.crc is None:
            return
        wrong = np.flatnonzero(item_crcs(values, offsets) != self.crc[at])
        if len(wrong):
            key = self.keys.astype(str)[at[wrong[0]]]
            raise damaged(
                self.folder,
                f"{len(wrong)} of the {counted(len(at), 'item')} read do not match their checksums "
                f"(the first has the key {key[:16]}...)",
            )


def item_crcs(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Returns the CRC-32 (n,) uint32 of the bytes of each of n items.

    Args:
        values: (T_total, ...) float32, the items one after the other.
        offsets: (n + 1,) where each begins, in rows of `values`.
    """
    flat = np.ascontiguousarray(values)
    step = flat[0].nbytes if len(flat) else 0
    content = flat.reshape(-1).view(np.uint8).data
    bounds = (np.asarray(offsets) * step).tolist()
    crcs = [zlib.crc32(content[a:b]) for a, b in itertools.pairwise(bounds)]
    return np.array(crcs, np.uint32)


def damaged(folder: Path, what: str) -> StoreError:
    """Returns the error that says what is wrong and how to get the features back."""
    return StoreError(
        f"The feature store at {folder} is damaged: {what}; delete that folder and run "
        "`semi extract` again (nothing else needs the folder, its features are recomputed)"
    )


def open_state(folder: Path, state: dict[str, Any], *, verify: bool = False) -> Snapshot:
    """Returns what a state of a shelf's folder names; StoreError if it is damaged.

    Args:
        folder: of the shelf.
        state: what its store.json holds.
        verify: check the SHA-256 of the data also where the file passed before.
    """
    version = state.get("format")
    if version not in INDEX:
        raise damaged(folder, f"its format is {version!r}, this program reads 1 and {STORE_FORMAT}")
    try:
        for part in ("data", "index"):
            _check_file(folder, state[part], verify or part == "index")
        index = np.load(folder / state["index"]["name"], allow_pickle=False)
        data = np.load(folder / state["data"]["name"], mmap_mode="r", allow_pickle=False)
        offsets = None
        if state["ragged"]:
            offsets = np.concatenate([[0], index["frames"].cumsum()])
        rows = len(index) if offsets is None else int(offsets[-1])
        fits = len(data) == rows and len(index) == state["items"]
    except (KeyError, TypeError, ValueError, IndexError, EOFError) as error:
        raise damaged(folder, f"store.json or an array cannot be read ({error!r:.80})") from None
    if index.dtype != INDEX[version] or data.dtype != np.float32 or not fits:
        raise damaged(folder, "its index and its data do not belong together")
    return Snapshot(
        np.ascontiguousarray(index["key"]),
        np.ascontiguousarray(index["seconds"]),
        data,
        offsets,
        np.ascontiguousarray(index["crc"]) if version > 1 else None,
        folder,
    )


def _check_file(folder: Path, entry: dict[str, Any], whole: bool) -> None:
    """Raises StoreError unless a file has the size, and where asked the SHA-256, it had."""
    if Path(entry["name"]).name != entry["name"]:
        raise damaged(folder, "its store.json names a file of another folder")
    path = folder / entry["name"]
    size = path.stat().st_size
    if size != entry["bytes"]:
        raise damaged(folder, f"{path.name} has {size} bytes instead of {entry['bytes']}")
    if whole or not is_marked(path, entry["sha256"]):
        if file_sha256(path) != entry["sha256"]:
            raise damaged(folder, f"the contents of {path.name} do not match their SHA-256")
        mark(path, entry["sha256"])


def json_bytes(value: Any) -> bytes:
    """Returns JSON that depends on its contents only."""
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def read_json(path: Path) -> dict[str, Any]:
    """Returns a JSON file's object; StoreError if it is none, or guards itself and has changed."""
    return parse_json(path.read_bytes(), path)


def parse_json(content: bytes, path: Path) -> dict[str, Any]:
    """Returns what `read_json` does of the bytes of a file at `path`."""
    value = None
    with contextlib.suppress(ValueError, RecursionError):
        text = content.decode("utf-8")
        value = json.loads(text)
        if isinstance(value, dict) and (value.get("format") == STORE_FORMAT or OWN_SHA256 in value):
            value = value if is_guarded(text) else None
    if not isinstance(value, dict):
        raise damaged(path.parent, f"{path.name} is not as it was written")
    value.pop(OWN_SHA256, None)
    return value
