"""A shelf on an object store (s3://, gs://, what fsspec opens), and its copy on this disk.

Objects are put whole or not at all, under names that follow from their contents, and never change:
data, index, then the state that names them (store-<sha>.json) and the list of what could not be
encoded (quarantine-<sha>.csv). A state is removed only when one that holds all of it has been put.
So a reader sees whole states at any moment, and nothing that was put is lost: where two writers
put theirs in the same instant both are there, readers see the union, and the next writer puts it.
There are no locks between machines. On one machine the lock of the shelf guards the copy.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from ..errors import SemiError, StoreError, how_to_install
from .files import temporary

LIBRARIES = {"gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs"}  # beside the extra s3
TRIES = 5  # at reading states that others replace meanwhile
ABANDONED_SECONDS = 86_400  # data that no state names are of a dead writer after so long


def is_url(store: str | os.PathLike) -> bool:
    """Says whether a store is an address such as s3://bucket/prefix."""
    return "://" in str(store)


def store_there(store: str) -> str | None:
    """Returns the store of a finished run if it is still there, as an address always is."""
    return store if is_url(store) or os.path.isdir(store) else None


def address_problem(store: str) -> str:
    """Returns why no address of this kind can be opened here, or '', as for every folder."""
    if not is_url(store):
        return ""
    from fsspec import get_filesystem_class

    protocol = store.partition("://")[0].rpartition("::")[2]
    try:
        get_filesystem_class(protocol)
    except ValueError:
        return (
            f"{store}: no library knows addresses of '{protocol}://'; name a folder, "
            "s3://bucket/prefix, gs://bucket/prefix or another address that fsspec opens"
        )
    except ImportError as error:
        library = LIBRARIES.get(protocol, "")
        remedy = f"install {library} with pip" if library else f"{error}"
        remedy = how_to_install("s3") if protocol in ("s3", "s3a") else remedy
        return f"{store} needs a library that is not installed here: {remedy}"
    return ""


def copy_of(url: str) -> Path:
    """Returns the folder of this disk that holds the copy of a store: below $XDG_CACHE_HOME."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().absolute()
    return home / "semi" / "stores" / hashlib.sha256(url.encode()).hexdigest()[:16]


@dataclass
class Remote:
    """One folder of an object store; all methods raise StoreError where it cannot be had."""

    url: str
    folder: Path  # its copy
    base: frozenset[str] = frozenset()  # names of the states and lists that the copy was made of
    states: list[bytes] = field(default_factory=list)  # as they were pulled, the copy's own first
    lists: list[bytes] = field(default_factory=list)  # of what could not be encoded, likewise

    def pull(self) -> None:
        """Makes the copy what the object store holds now.

        Of several states it is the one with the most items, and the data of the others lie beside
        its own; `semi.features.remote_copy` makes one of them.
        """
        last, missing = None, ""
        for _ in range(TRIES):
            names = self._names()
            whole, missing = self._pull_states(names)
            if missing and (names, missing) != last:
                last = names, missing  # another writer has replaced that state meanwhile
                continue
            if missing and not whole:
                break
            self._settle(names, whole)  # of a state that goes on lacking files another has all
            return
        raise StoreError(f"{self.url}: {missing} is missing; delete that folder and run `semi "
                         "extract` again")  # fmt: skip

    def push(self) -> bool:
        """Puts the copy's state; False, and no state is changed, if another writer was faster."""
        content = {
            _name_of(path): path.read_bytes()
            for path in (self.folder / "store.json", self.folder / "quarantine.csv")
            if path.exists()
        }
        files = self._named(*(c for name, c in content.items() if _is_state(name)))
        before = self._named(*self.states)
        there = self._names()
        if _changing(there) != self.base:
            return False
        with _talking(self.url) as fs:
            for name in sorted(files - before | {"encoder.json"} - there):
                if (self.folder / name).exists():
                    fs.put_file(str(self.folder / name), self._at(name))
        if _changing(self._names()) != self.base:
            return False  # what was put is named by nobody, and swept when it is old
        with _talking(self.url) as fs:
            for name in sorted(content.keys() - self.base):
                fs.pipe_file(self._at(name), content[name])
        self._remove(self.base - content.keys())  # the states first, then what they name
        self._remove(before - files)
        self._sweep()
        self.base = frozenset(content)
        self.states = [c for name, c in content.items() if _is_state(name)]
        self.lists = [c for name, c in content.items() if not _is_state(name)]
        return True

    def put_shard(self, path: Path) -> None:
        """Puts a finished shard of a plan, which is its checkpoint."""
        with _talking(self.url) as fs:
            fs.put_file(str(path), self._at(f"pending/{path.parent.name}/{path.name}"))

    def get_shards(self, plan: Path, name: str = "*.npz") -> None:
        """Gets the finished shards of a plan that the copy lacks."""
        with _talking(self.url) as fs:
            fs.invalidate_cache()  # others put some since it was listed
            for found in sorted(fs.glob(self._at(f"pending/{plan.name}/{name}"))):
                if not (plan / Path(found).name).exists():
                    with contextlib.suppress(FileNotFoundError):  # merged by another just now
                        self._get(fs, found, plan / Path(found).name)

    def plans(self) -> list[str]:
        """Returns the names of the plans of which finished shards are there."""
        with _talking(self.url) as fs:
            fs.invalidate_cache()
            return sorted({Path(found).parent.name for found in fs.glob(self._at("pending/*/*"))})

    def drop(self, plan: Path, shards: Iterable[str]) -> None:
        """Removes shards of a plan, which are merged."""
        self._remove(f"pending/{plan.name}/{name}" for name in shards)

    def _at(self, name: str) -> str:
        return f"{self.url}/{name}"

    def _names(self) -> frozenset[str]:
        """Returns the names of the objects of this folder."""
        with _talking(self.url) as fs:
            fs.invalidate_cache()
            with contextlib.suppress(FileNotFoundError):
                return frozenset(Path(found).name for found in fs.ls(self.url, detail=False))
        return frozenset()

    def _read(self, name: str) -> bytes | None:
        with _talking(self.url) as fs, contextlib.suppress(FileNotFoundError):
            return fs.cat_file(self._at(name))
        return None

    def _remove(self, names: Iterable[str]) -> None:
        with _talking(self.url) as fs:
            for name in sorted(names):
                with contextlib.suppress(FileNotFoundError):
                    fs.rm_file(self._at(name))

    def _sweep(self) -> None:
        """Removes data that no state names and that are old: of writers that died or were late."""
        names = self._names()
        states = [self._read(name) for name in names if _is_state(name)]
        stray = {name for name in names if name.startswith(("data-", "index-"))}
        if stray := stray - self._named(*(state for state in states if state)):
            before = datetime.now(timezone.utc) - timedelta(seconds=ABANDONED_SECONDS)
            with _talking(self.url) as fs:
                old = {n for n in stray if _modified(fs, self._at(n), before) < before}
            self._remove(old)

    def _pull_states(self, names: Iterable[str]) -> tuple[list[bytes], str]:
        """Gets the files of every state; returns those that have theirs, and a file that is not."""
        self.folder.mkdir(parents=True, exist_ok=True)
        whole, missing = [], ""
        for name in sorted(filter(_is_state, names)):
            state = self._read(name)
            lost = name if state is None else self._get_files(self._named(state))
            missing = lost or missing
            whole += [] if lost else [state]
        return whole, missing

    def _get_files(self, names: Iterable[str]) -> str:
        """Gets the files that the copy lacks; returns one that is not there, "" if none."""
        with _talking(self.url) as fs:
            for name in sorted(names):
                if not (self.folder / name).exists():
                    try:
                        self._get(fs, self._at(name), self.folder / name)
                    except FileNotFoundError:
                        return name
        return ""

    def _settle(self, names: frozenset[str], whole: list[bytes]) -> None:
        """Writes down what was pulled."""
        self.base = _changing(names)
        self.states = sorted(whole, key=lambda state: (-_items(state), state))
        lists = (self._read(name) for name in sorted(self.base) if not _is_state(name))
        self.lists = [content for content in lists if content is not None]
        self._copy("encoder.json", self._read("encoder.json"))
        self._copy("quarantine.csv", self.lists[0] if self.lists else None)
        self._copy("store.json", self.states[0] if self.states else None)

    def _named(self, *states: bytes) -> set[str]:
        """Returns the names of the files that states name."""
        try:
            parts = [json.loads(state)[part] for state in states for part in ("data", "index")]
            return {Path(part["name"]).name for part in parts}
        except (ValueError, TypeError, KeyError):
            raise StoreError(
                f"{self.url}: its store.json is not as it was written; bring it back from a copy, "
                "or delete that folder and run `semi extract` again"
            ) from None

    def _get(self, fs: Any, source: str, path: Path) -> None:
        part = temporary(path)
        try:
            fs.get_file(source, str(part))
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)

    def _copy(self, name: str, content: bytes | None) -> None:
        path = self.folder / name
        if content is None:
            if name != "encoder.json":  # which follows from the encoder, and is put with the rest
                path.unlink(missing_ok=True)
        elif not path.exists() or path.read_bytes() != content:
            part = temporary(path)
            part.write_bytes(content)
            os.replace(part, path)


def _name_of(path: Path) -> str:
    """Returns the name of the object that holds what is in store.json or quarantine.csv now."""
    return f"{path.stem}-{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}{path.suffix}"


def _is_state(name: str) -> bool:
    return name.startswith("store-")


def _changing(names: Iterable[str]) -> frozenset[str]:
    """Returns the names of states and of lists of what could not be encoded."""
    return frozenset(name for name in names if name.startswith(("store-", "quarantine-")))


def _items(state: bytes) -> int:
    return int(json.loads(state).get("items", 0))


def _modified(fs: Any, path: str, otherwise: datetime) -> datetime:
    """Returns when an object was put, or what is given where that is not known."""
    try:
        return fs.modified(path)
    except (FileNotFoundError, NotImplementedError):
        return otherwise


def shelf_names(url: str) -> list[str]:
    """Returns the names of the folders of encoders that a store holds."""
    with _talking(url) as fs:
        fs.invalidate_cache()
        return sorted(Path(found).parent.name for found in fs.glob(f"{url}/*/encoder.json"))


@contextlib.contextmanager
def _talking(url: str) -> Iterator[Any]:
    """Yields the file system of an address; whatever it raises is StoreError.

    Object stores raise errors of their own libraries, which have no common base.
    """
    from fsspec.core import url_to_fs

    if problem := address_problem(url):
        raise StoreError(problem)
    try:
        yield url_to_fs(url)[0]
    except SemiError:
        raise
    except Exception as error:
        words = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise StoreError(
            f"{url} cannot be read or written ({words}); check the address, and the credentials "
            "in the environment"
        ) from error
