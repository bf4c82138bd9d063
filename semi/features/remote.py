"""A shelf on an object store (s3://, gs://, what fsspec opens), and its copy on this disk.

Objects are put whole or not at all; data and index have their hash in their names and never change,
and store.json, which names them, is put last. So a reader sees a whole state at any moment. There
are no locks between machines: what two writers at once may lose is only encoded again
(docs/scale.md). On one machine the lock of the shelf guards the copy.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import SemiError, StoreError, how_to_install
from .files import temporary

LIBRARIES = {"gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs"}  # beside the extra s3
TRIES = 5  # at reading a state that others replace meanwhile
SMALL = ("encoder.json", "quarantine.csv")


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
    base: bytes | None = None  # store.json as it was pulled, None = there was none

    def pull(self) -> None:
        """Makes the copy what the object store holds now."""
        last = ""
        for _ in range(TRIES):
            self.base = self._read("store.json")
            last = self._pull_files()
            if not last:  # else another writer has replaced it meanwhile
                for name in SMALL:
                    self._copy(name, self._read(name))
                self._copy("store.json", self.base)
                return
        raise StoreError(f"{self.url}: {last} is missing; delete that folder and run `semi "
                         "extract` again")  # fmt: skip

    def push(self) -> bool:
        """Puts the copy's state; False, and nothing is changed, if another writer was faster."""
        about = self.folder / "store.json"
        state = about.read_bytes() if about.exists() else None
        names, before = self._named(state), self._named(self.base)
        with _talking(self.url) as fs:
            for name in sorted(names - before):
                fs.put_file(str(self.folder / name), self._at(name))
        now = self._read("store.json")
        if now != self.base:
            self._remove(names - before - self._named(now))
            return False
        with _talking(self.url) as fs:
            for name in (*SMALL, "store.json"):
                path = self.folder / name
                if path.exists():
                    fs.pipe_file(self._at(name), path.read_bytes())
        if not (self.folder / "quarantine.csv").exists():
            self._remove({"quarantine.csv"})
        self._remove(before - names)
        self.base = state
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
                    self._get(fs, found, plan / Path(found).name)

    def drop(self, plan: Path) -> None:
        """Removes the shards of a plan that is merged."""
        with _talking(self.url) as fs:
            fs.invalidate_cache()
            if fs.exists(self._at(f"pending/{plan.name}")):
                fs.rm(self._at(f"pending/{plan.name}"), recursive=True)

    def _at(self, name: str) -> str:
        return f"{self.url}/{name}"

    def _read(self, name: str) -> bytes | None:
        with _talking(self.url) as fs:
            fs.invalidate_cache()
            with contextlib.suppress(FileNotFoundError):
                return fs.cat_file(self._at(name))
        return None

    def _remove(self, names: set[str]) -> None:
        with _talking(self.url) as fs:
            for name in sorted(names):
                with contextlib.suppress(FileNotFoundError):
                    fs.rm_file(self._at(name))

    def _pull_files(self) -> str:
        """Gets the files that `base` names; returns one that is not there, "" if none."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with _talking(self.url) as fs:
            for name in sorted(self._named(self.base)):
                if not (self.folder / name).exists():
                    try:
                        self._get(fs, self._at(name), self.folder / name)
                    except FileNotFoundError:
                        return name
        return ""

    def _named(self, about: bytes | None) -> set[str]:
        """Returns the names of the files that a store.json names."""
        try:
            state = json.loads(about or b"{}")
            return {Path(state[p]["name"]).name for p in ("data", "index") if p in state}
        except (ValueError, TypeError, KeyError):
            raise StoreError(
                f"{self.url}/store.json is not as it was written; bring it back from a copy, or "
                "delete that folder and run `semi extract` again"
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
