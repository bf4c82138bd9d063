"""The feature store: one folder per encoder, one memory-mapped array, found by content.

`<root>/<modality>-<key>/` holds `encoder.json` (what made the numbers), `data-<sha>.npy` (all rows,
in the order of their keys), `index-<sha>.npy` (keys and lengths), `store.json` (which two files
are current, with sizes and SHA-256), `quarantine.csv` and, while work is under way, `pending/`.
The bytes follow from the contents alone: not from the number of workers, kills or the clock.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data.wording import counted
from ..errors import StoreError
from ..locks import held
from .files import write_whole
from .keys import KEY, FileKeys, identity_key
from .remote import Remote, copy_of, is_url, shelf_names
from .remote_copy import bring
from .snapshot import Snapshot, damaged, json_bytes, open_state, read_json


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
        """Returns every shelf, by name; those of an object store are copied to this disk first."""
        found = []
        for name in shelf_names(self.url) if self.url else []:
            with held(_lock(self.root / name)):  # another process may write into this copy
                bring(Remote(f"{self.url}/{name}", self.root / name))
        for path in sorted(self.root.glob("*/encoder.json")):
            about = read_json(path)
            found.append(
                Shelf(self.root, about.get("modality", ""), about.get("identity", {}), self.url)
            )
        return found

    def verify(self) -> int:
        """Reads and checks every byte of every shelf; returns how many items there are."""
        return sum(len(shelf.open(verify=True)) for shelf in self.shelves())


def _lock(folder: Path) -> Path:
    """Returns the file that is locked before a shelf is changed; makes it, and the folder."""
    path = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as error:
        raise StoreError(
            f"The feature store at {folder} cannot be written ({error.strerror}); set "
            "features.store to a folder where you may write"
        ) from error
    return path


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
        _lock(self.folder)
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
            bring(self.remote)
            return self.open_copy(verify=verify)

    def open_copy(self, *, verify: bool = False) -> Snapshot:
        """Returns what `open` does, of an object store as this disk has it."""
        path = self.folder / "store.json"
        last = None
        while path.exists():
            state = read_json(path)
            try:
                return open_state(self.folder, state, verify=verify)
            except FileNotFoundError as error:  # replaced under our eyes, unless named again
                if state == last:
                    name = Path(error.filename).name
                    raise self.damaged(f"{name} is missing") from None
                last = state
        return Snapshot(np.empty(0, KEY), np.empty(0, np.float32), None, None)

    def damaged(self, what: str) -> StoreError:
        """Returns the error that says what is wrong and how to get the features back."""
        return damaged(self.folder, what)

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
