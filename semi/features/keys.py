"""Content keys: what a file, a part of a file or a text is called in the feature store."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..checksums import file_sha256
from ..errors import SemiError
from ..locks import held
from .files import remove_leftovers, write_whole

KEY = np.dtype("S64")  # 64 hexadecimal digits of a SHA-256; b"" = the row has nothing here
_SETTLED_NS = 20_000_000  # a file changed more recently might change again within one clock tick


def text_key(text: str) -> str:
    """Returns the key of a text: the SHA-256 of its UTF-8 bytes."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def segment_key(file_key: str, start: float | None, end: float | None) -> str:
    """Returns the key of a part of a file, in seconds; that of the file itself for the whole."""
    if start is None and end is None:
        return file_key
    span = "-".join("" if t is None else f"{t:.6f}" for t in (start, end))
    return hashlib.sha256(f"{file_key} {span}".encode()).hexdigest()


def identity_key(modality: str, identity: dict[str, Any]) -> str:
    """Returns the key of an encoder: the SHA-256 of everything that changes its numbers."""
    text = json.dumps({"modality": modality, "identity": identity}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class FileKeys:
    """Keys of files by content, remembered by size and times so that each is read only once."""

    def __init__(self, memory: Path | None = None):
        self.memory = memory
        self._new: dict[str, tuple[int, int, int, str]] = {}

    @cached_property
    def _known(self) -> dict[str, tuple[int, int, int, str]]:
        return _read_memory(self.memory)

    def keys(self, paths: Sequence[str], workers: int = 2) -> list[str | Exception]:
        """Returns each file's key, or the error that kept it from being read."""
        known = self._known
        with ThreadPoolExecutor(max(1, workers)) as pool:  # hashing lets other threads run
            return list(pool.map(lambda path: self._key(path, known), paths))

    def save(self) -> None:
        """Adds what was learned to the memory file; one that cannot be written only costs time."""
        with contextlib.suppress(OSError, SemiError):
            self._save()

    def _save(self) -> None:
        if self.memory is None:
            return
        if not self._new and not any(self.memory.parent.glob(f".{self.memory.name}.*.tmp")):
            return
        self.memory.parent.mkdir(parents=True, exist_ok=True)
        with held(self.memory.with_name(".lock")):
            remove_leftovers(self.memory)
            if not self._new:
                return
            known = {**_read_memory(self.memory), **self._new}
            lines = [f"{sha} {a} {b} {c} {p}" for p, (a, b, c, sha) in sorted(known.items())]
            text = b"".join(_guarded(line.encode("utf-8", "surrogateescape")) for line in lines)
            write_whole(self.memory, lambda file: file.write(text))
        self._known, self._new = known, {}

    def _key(self, path: str, memory: dict) -> str | Exception:
        try:
            path = os.path.abspath(path)
            before = _stamp(path)
            known = memory.get(path)
            if known is not None and known[:3] == before:
                return known[3]
            if abs(time.time_ns() - max(before[1:])) < _SETTLED_NS:
                time.sleep(_SETTLED_NS / 1e9)
                before = _stamp(path)
            key = file_sha256(path)
            if _stamp(path) == before and "\n" not in path:
                self._new[path] = (*before, key)
            return key
        except OSError as error:
            return error


def _stamp(path: str) -> tuple[int, int, int]:
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _guarded(line: bytes) -> bytes:
    return f"{zlib.crc32(line):08x} ".encode() + line + b"\n"


def _read_memory(memory: Path | None) -> dict[str, tuple[int, int, int, str]]:
    """Returns what the memory file knows; a line that changed costs one more hashing, no more."""
    known: dict[str, tuple[int, int, int, str]] = {}
    if memory is None or not memory.is_file():
        return known
    for line in memory.read_bytes().split(b"\n"):
        if line[8:9] == b" ":  # lines of earlier versions begin with the 64 digits of the hash
            if _guarded(line[9:]) != line + b"\n":
                continue
            line = line[9:]
        parts = line.decode("utf-8", "surrogateescape").split(" ", 4)
        try:
            sha, size, changed, touched, path = parts
            if len(sha) == 64:
                known[path] = (int(size), int(changed), int(touched), sha)
        except ValueError:
            continue
    return known
