"""Files of arrays that somebody else made: opened without running, or inflating, what they hide.

An .npz is a zip archive: a megabyte of it can ask for a gigabyte of memory. What each array would
take stands in its header, so it is asked for before anything is inflated.
"""

from __future__ import annotations

import mmap
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from .lfs import is_lfs_pointer, pulled_by

ARRAY_SUFFIXES = (".npy", ".npz", ".safetensors")
SMALL = 64 * 2**20  # bytes; an array of this size is read however well it was packed
PACKED = 100  # no array of measurements becomes this many times smaller
ENCRYPTED = 0x1  # the flag of a zip member
ARRAYS_SHOWN = 5  # names of arrays that a message lists
PICKLED = (
    "holds Python objects, which are never unpickled; save it again with plain types: "
    "np.asarray(ids, dtype=str), np.asarray(values, dtype=np.float32)"
)


class ArrayError(ValueError):
    """The array cannot be used; the message is a reason, to follow the file's name."""


def load_array(path: Path, name: str = "") -> np.ndarray:
    """Returns the array of a .npy, .npz or .safetensors file; of several, the one named `name`."""
    if path.suffix not in ARRAY_SUFFIXES:
        raise ArrayError(f"ends in '{path.suffix}'; known are {', '.join(ARRAY_SUFFIXES)}")
    with explained(path):
        if path.suffix == ".safetensors":
            return _load_safetensors(path, name)
        if path.suffix == ".npz":
            with Archive(path) as archive:
                return archive.read(choose(list(archive.shapes), name))
        with path.open("rb") as file:
            shape, dtype, _ = _header(file)
            _check_size("its array", shape, dtype, path.stat().st_size - file.tell())
        return np.load(path, allow_pickle=False)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns whatever a damaged file makes NumPy or zipfile raise into one ArrayError."""
    if is_lfs_pointer(path):
        raise ArrayError(f"is a Git LFS pointer, not the file itself; {pulled_by(path)}")
    try:
        yield
    except (ArrayError, FileNotFoundError):
        raise
    except MemoryError:
        raise ArrayError("asks for more memory than there is") from None
    except Exception as error:  # a damaged or hostile file may fail in any way
        if "allow_pickle" in str(error):
            raise ArrayError(PICKLED) from error
        first = (str(error).splitlines() or [""])[0]
        raise ArrayError(
            f"cannot be read ({type(error).__name__}: {first[:160]}); write or download it again"
        ) from error


class Archive:
    """An open .npz: its arrays' shapes, from their headers, and each array when asked for."""

    def __init__(self, path: Path) -> None:
        self._path, self._zip = path, zipfile.ZipFile(path)
        self._members = {
            info.filename.removesuffix(".npy"): info
            for info in self._zip.infolist()
            if info.filename.endswith(".npy")
        }
        self.shapes: dict[str, tuple[int, ...]] = {}
        for name, info in self._members.items():
            with self._zip.open(info) as file:
                self.shapes[name] = _header(file)[0]

    def __enter__(self) -> Archive:
        """Returns itself."""
        return self

    def __exit__(self, *_: Any) -> None:
        """Closes the file."""
        self._zip.close()

    def mapped(self, name: str) -> np.ndarray:
        """Returns an array, read-only, as a map of the file where it lies there unpacked.

        Its bytes are held against the checksum of the archive, as `read` does.
        """
        info = self._members[name]
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & ENCRYPTED:
            return self.read(name)
        shape, dtype, by_columns, head = self._believable(name)
        if by_columns or not prod(shape):
            return self.read(name)
        with self._zip.open(info) as file:
            while file.read(SMALL >> 4):  # to the end, where zipfile compares the checksum
                pass
        return np.memmap(self._path, dtype, "r", self._begin(info) + head, shape)

    def _begin(self, info: zipfile.ZipInfo) -> int:
        """Returns where the bytes of a member begin in the file."""
        with self._path.open("rb") as file:
            file.seek(info.header_offset + 26)  # of the 30 bytes before name and extra field
            name, extra = (int.from_bytes(file.read(2), "little") for _ in range(2))
        return info.header_offset + 30 + name + extra

    def read(self, name: str) -> np.ndarray:
        """Returns an array, if it is as large as its file makes believable."""
        self._believable(name)
        with self._zip.open(self._members[name]) as file:
            return np.lib.format.read_array(file, allow_pickle=False)

    def _believable(self, name: str) -> tuple[tuple[int, ...], np.dtype, bool, int]:
        """Returns shape, type, order and the length of the header of an array; see `read`."""
        info = self._members[name]
        with self._zip.open(info) as file:
            shape, dtype, by_columns = _header(file)
            head = file.tell()
            _check_size(f"array '{name:.40}'", shape, dtype, info.file_size - head)
        if info.file_size > max(SMALL, PACKED * info.compress_size):
            raise ArrayError(
                f"packs array '{name:.40}' of {_megabytes(info.file_size)} into "
                f"{_megabytes(info.compress_size)}, which no measurements do; if it is meant so, "
                f"save it with np.savez, not np.savez_compressed"
            )
        return shape, dtype, by_columns, head


def released(array: np.ndarray) -> None:
    """Lets the system take back the memory of what has been read of a mapped file."""
    mapped, advice = getattr(array, "_mmap", None), getattr(mmap, "MADV_DONTNEED", None)
    if mapped is not None and advice is not None:  # not on Windows
        mapped.madvise(advice)


def choose(names: list[str], wanted: str) -> str:
    """Returns which array of a file is meant: the only one, or the wanted one."""
    if len(names) == 1:
        return names[0]
    if wanted in names:
        return wanted
    raise ArrayError(
        f"holds {len(names)} arrays ({listed(sorted(names))}) and none is named "
        f"'{wanted}'; keep one of them, or rename it"
    )


def listed(names: list[str]) -> str:
    """Returns some names for a message, whatever their number and length."""
    more = f" and {len(names) - ARRAYS_SHOWN} more" if len(names) > ARRAYS_SHOWN else ""
    return ", ".join(name[:40] for name in names[:ARRAYS_SHOWN]) + more if names else "none"


def _header(file: Any) -> tuple[tuple[int, ...], np.dtype, bool]:
    """Returns shape, type and whether columns come first, of an open .npy file.

    It is left after the header.
    """
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0
    if version != (1, 0):
        read = np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = read(file)
    return shape, dtype, by_columns


def _check_size(what: str, shape: tuple[int, ...], dtype: np.dtype, held: int) -> None:
    """Refuses an array that its file does not hold, or that fits in no memory of this machine."""
    if dtype.hasobject:
        raise ArrayError(PICKLED)
    asked = prod(shape) * dtype.itemsize
    if asked != held:
        raise ArrayError(
            f"is damaged: the header of {what} says {shape} {dtype}, {_megabytes(asked)}, and "
            f"{_megabytes(max(held, 0))} follow"
        )
    if asked > memory():
        raise ArrayError(
            f"asks for {_megabytes(asked)} for {what}, and this machine has {_megabytes(memory())}"
        )


def memory() -> int:
    """Returns the bytes of memory of this machine, a great number where it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return 2**62


def _megabytes(count: int) -> str:
    return f"{count:,} bytes" if count < 10_000 else f"{count / 1e6:,.1f} MB"


def _load_safetensors(path: Path, name: str) -> np.ndarray:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:  # "pt", since NumPy knows no bfloat16
        return file.get_tensor(choose(list(file.keys()), name)).float().numpy()
