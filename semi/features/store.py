"""The feature store: one folder per encoder, one memory-mapped array, found by content.

`<root>/<modality>-<key>/` holds `encoder.json` (what made the numbers), `data-<sha>.npy` (all rows,
in the order of their keys), `index-<sha>.npy` (keys and lengths), `store.json` (which two files
are current, with sizes and SHA-256), `quarantine.csv` and, while work is under way, `pending/`.
The bytes follow from the contents alone: not from the number of workers, kills or the clock.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..checksums import OWN_SHA256, file_sha256, is_guarded
from ..data.wording import counted
from ..errors import StoreError
from ..locks import held
from .files import write_whole
from .keys import KEY, FileKeys, identity_key
from .marks import is_marked, mark
from .remote import Remote, copy_of, is_url, shelf_names

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


class FeatureStore:
    """A folder of shelves, one for each encoder that ever filled it."""

    def __init__(self, root: str | Path):
        self.url = str(root).rstrip("/") if is_url(root) else ""
        self.root = copy_of(self.url) if self.url else Path(root)
        self.file_keys = FileKeys(self.root / "files.sha256")  # read when first asked

    @property
    def place(self) -> str:
        """Where it is: the folder, or the address of an object store."""
        return self.url or str(self.root)

    def shelf(self, modality: str, identity: dict[str, Any]) -> Shelf:
        """Returns the shelf of one encoder, which may not exist on disk yet."""
        return Shelf(self.root, modality, identity, self.url)

    def shelves(self) -> list[Shelf]:
        """Returns every shelf on disk, by name."""
        found = []
        for name in shelf_names(self.url) if self.url else []:
            Remote(f"{self.url}/{name}", self.root / name).pull()
        for path in sorted(self.root.glob("*/encoder.json")):
            about = read_json(path)
            found.append(
                Shelf(self.root, about.get("modality", ""), about.get("identity", {}), self.url)
            )
        return found

    def verify(self) -> int:
        """Reads and checks every byte of every shelf; returns how many items there are."""
        return sum(len(shelf.open(verify=True)) for shelf in self.shelves())


class Shelf:
    """The results of one encoder."""

    def __init__(self, root: Path, modality: str, identity: dict[str, Any], url: str = ""):
        self.modality = modality
        self.identity = identity
        self.key = identity_key(modality, identity)
        self.folder = Path(root) / f"{modality}-{self.key[:16]}"
        self.remote = Remote(f"{url}/{self.folder.name}", self.folder) if url else None
        self._is_locked = False  # by us, now

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Holds the lock that guards every change of this shelf, for a `with` block.

        Makes the folder if there is none.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / ".lock").touch()
        except OSError as error:
            raise StoreError(
                f"The feature store at {self.folder} cannot be written ({error.strerror}); set "
                "features.store to a folder where you may write"
            ) from error
        return self._holding()

    @contextlib.contextmanager
    def _holding(self) -> Iterator[None]:
        with held(self.folder / ".lock"):
            self._is_locked = True
            try:
                yield
            finally:
                self._is_locked = False

    def describe(self) -> None:
        """Writes down what the numbers come from; the caller holds the lock."""
        path = self.folder / "encoder.json"
        if not path.exists():
            encoder = {"modality": self.modality, "identity": self.identity, "key": self.key}
            write_whole(path, lambda file: file.write(json_bytes(encoder)))

    def open(self, *, verify: bool = False) -> Snapshot:
        """Returns what is stored now; StoreError if it is damaged.

        Sizes, headers and the index are always checked, and items by their CRC-32 as they are read.
        The SHA-256 of the data is checked when `verify` is asked for and whenever the file is not
        the very one that passed last time. Of an object store the copy is brought up to date first,
        under the lock: another process may be about to put what it has written there.
        """
        if self.remote is None:
            return self.open_copy(verify=verify)
        with contextlib.nullcontext() if self._is_locked else self.locked():
            self.remote.pull()
            return self.open_copy(verify=verify)

    def open_copy(self, *, verify: bool = False) -> Snapshot:
        """Returns what `open` does, of an object store as this disk has it."""
        path = self.folder / "store.json"
        last = None
        while path.exists():
            state = read_json(path)
            try:
                return self._open(state, verify)
            except FileNotFoundError as error:  # replaced under our eyes, unless named again
                if state == last:
                    name = Path(error.filename).name
                    raise self.damaged(f"{name} is missing") from None
                last = state
        return Snapshot(np.empty(0, KEY), np.empty(0, np.float32), None, None)

    def damaged(self, what: str) -> StoreError:
        """Returns the error that says what is wrong and how to get the features back."""
        return damaged(self.folder, what)

    def _open(self, state: dict[str, Any], verify: bool) -> Snapshot:
        version = state.get("format")
        if version not in INDEX:
            raise self.damaged(
                f"its format is {version!r}, this program reads 1 and {STORE_FORMAT}"
            )
        try:
            for part in ("data", "index"):
                self._check_file(state[part], verify or part == "index")
            index = np.load(self.folder / state["index"]["name"], allow_pickle=False)
            data = np.load(self.folder / state["data"]["name"], mmap_mode="r", allow_pickle=False)
            offsets = None
            if state["ragged"]:
                offsets = np.concatenate([[0], index["frames"].cumsum()])
            rows = len(index) if offsets is None else int(offsets[-1])
            fits = len(data) == rows and len(index) == state["items"]
        except (KeyError, TypeError, ValueError, IndexError, EOFError) as error:
            raise self.damaged(f"store.json or an array cannot be read ({error!r:.80})") from None
        if index.dtype != INDEX[version] or data.dtype != np.float32 or not fits:
            raise self.damaged("its index and its data do not belong together")
        return Snapshot(
            np.ascontiguousarray(index["key"]),
            np.ascontiguousarray(index["seconds"]),
            data,
            offsets,
            np.ascontiguousarray(index["crc"]) if version > 1 else None,
            self.folder,
        )

    def _check_file(self, entry: dict[str, Any], whole: bool) -> None:
        """Raises StoreError unless a file has the size, and where asked the SHA-256, it had."""
        path = self.folder / entry["name"]
        size = path.stat().st_size
        if size != entry["bytes"]:
            raise self.damaged(f"{path.name} has {size} bytes instead of {entry['bytes']}")
        if whole or not is_marked(path, entry["sha256"]):
            if file_sha256(path) != entry["sha256"]:
                raise self.damaged(f"the contents of {path.name} do not match their SHA-256")
            mark(path, entry["sha256"])

    def get(self, keys: Sequence[str] | np.ndarray) -> np.ndarray:
        """Returns the vectors of `keys` as (n, *shape); StoreError when any is not here."""
        snapshot = self.open()
        at = snapshot.find(np.asarray(keys, KEY))
        if (at < 0).any():
            raise StoreError(
                f"The feature store at {self.folder} lacks {int((at < 0).sum())} of the "
                f"{counted(len(at), 'item')} asked for; run `semi extract` with this configuration "
                "first"
            )
        return snapshot.rows(at)


def json_bytes(value: Any) -> bytes:
    """Returns JSON that depends on its contents only."""
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def read_json(path: Path) -> dict[str, Any]:
    """Returns a JSON file's object; StoreError if it is none, or guards itself and has changed."""
    value = None
    with contextlib.suppress(ValueError, RecursionError):
        text = path.read_bytes().decode("utf-8")
        value = json.loads(text)
        if isinstance(value, dict) and (value.get("format") == STORE_FORMAT or OWN_SHA256 in value):
            value = value if is_guarded(text) else None
    if not isinstance(value, dict):
        raise damaged(path.parent, f"{path.name} is not as it was written")
    value.pop(OWN_SHA256, None)
    return value
