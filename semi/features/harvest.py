"""Finished shards of workers that were stopped, here or on an object store: found, taken in."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import zipfile
from pathlib import Path

import numpy as np

from ..errors import StoreError, writing
from ..locks import taken
from .keys import KEY
from .merge import merge
from .store import Shelf


def finished(shelf: Shelf, keys: np.ndarray, stored: np.ndarray) -> np.ndarray:
    """Returns which items (N,) bool workers that were stopped have encoded but not yet merged.

    Args:
        shelf: where they are wanted.
        keys: (N,) S64 of the items, b"" where there is none.
        stored: (N,) bool, those that need not be looked for.
    """
    if not ((keys != b"") & ~stored).any():
        return np.zeros(len(keys), bool)
    if shelf.remote is not None:
        with shelf.locked():
            fetch(shelf)
    found = [np.empty(0, KEY)]
    for folder in sorted((shelf.folder / "pending").glob("*")):
        if _at_work(folder):
            continue
        for path in sorted(folder.glob("[0-9]*.npz")):
            with (
                contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile),
                open(path, "rb") as file,
                np.load(file, allow_pickle=False) as arrays,
            ):
                found.append(arrays["keys"].astype(KEY))
    return np.isin(keys, np.concatenate(found)) & ~stored


def _at_work(folder: Path) -> bool:
    """Says whether a live worker holds a shard of a plan."""
    for path in folder.glob("*.lock"):
        lock = taken(path)
        if lock is None:
            return True
        lock.release()
    return False


def _discard(folder: Path) -> None:
    """Removes a plan's folder, its name first, so that no other worker mends half of it."""
    trash = folder.parent.parent / f".{folder.name}.{secrets.token_hex(4)}.tmp"
    with writing(folder, StoreError):
        os.replace(folder, trash)
    shutil.rmtree(trash, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.parent.rmdir()


def harvest(shelf: Shelf) -> bool:
    """Merges one plan that nobody is working on; returns whether there was one."""
    for folder in sorted((shelf.folder / "pending").glob("*")):
        if _at_work(folder):
            continue
        take_in(shelf, folder)
        return True
    return False


def take_in(shelf: Shelf, folder: Path) -> None:
    """Merges the finished shards of a plan, here and on the object store, and removes them."""
    paths = sorted(folder.glob("[0-9]*.npz"))
    merge(shelf, paths)
    _discard(folder)
    if shelf.remote is not None:
        shelf.remote.drop(folder, [path.name for path in paths])


def fetch(shelf: Shelf, but: str = "") -> list[str]:
    """Gets the finished shards of an object store; returns the names of all plans there.

    Whose they are cannot be seen from here: of machines that are gone, or of one at work, which
    loses nothing if they are merged before it does so itself.

    Args:
        shelf: whose lock the caller holds.
        but: a plan whose shards are not fetched.
    """
    if shelf.remote is None:
        return []
    plans = shelf.remote.plans()
    for name in plans:
        if name != but:
            (shelf.folder / "pending" / name).mkdir(parents=True, exist_ok=True)
            shelf.remote.get_shards(shelf.folder / "pending" / name)
    return plans
