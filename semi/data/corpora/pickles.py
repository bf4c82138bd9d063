"""Dictionaries inside .npz files, read without running anything that the file names.

MERTools keeps its labels as pickled dictionaries. A pickle can name any function to call; here the
few names that NumPy writes stand for inert classes of ours, and every other name is refused.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ManifestError

LARGEST = 1 << 28  # bytes unpacked; MER2025's 27,369 labels take 2 MB
VALUES_OF_ANY = 10_000  # that a pickle may hold however short it is; beyond them one a byte
NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric")
NUMPY += ("numpy._core.numeric", "numpy")


class _DType:
    """What a pickled numpy.dtype says: its name; the rest of its state is the default."""

    def __init__(self, name: Any = "", *_: Any) -> None:
        self.name = name.decode("ascii") if isinstance(name, bytes) else str(name)

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] == ">":
            self.name = f">{self.name}"

    def real(self) -> np.dtype:
        """Returns the dtype itself: numbers, bool or text."""
        if self.name.lstrip("<>|=")[:1] not in tuple("?biufUS"):
            raise pickle.UnpicklingError(f"an array of '{self.name}'")
        return np.dtype(self.name)


class _Array:
    """What a pickled array says; `list()` gives its content."""

    def __init__(self, *_: Any) -> None:
        self.content: Any = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, _, data = state
        if isinstance(data, list):  # an array of objects
            self.content = data[0] if shape == () else data
        else:
            self.content = np.frombuffer(data, dtype.real()).tolist()
            self.content = self.content[0] if shape == () else self.content


def _scalar(dtype: Any, data: Any = b"") -> Any:
    return np.frombuffer(data, dtype.real())[0].item()


def _buffer(data: Any, dtype: Any, shape: Any, order: Any = "C") -> Any:
    return np.frombuffer(data, dtype.real()).tolist()


class _Maker:
    """To be called and not altered: a pickle may set attributes of what it names."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        object.__setattr__(self, "_call", call)

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)

    def __setattr__(self, name: str, value: Any) -> None:
        raise pickle.UnpicklingError(f"an attribute {name} to be set")


KNOWN = {
    "_reconstruct": _Maker(lambda *_: _Array()),
    "ndarray": _Maker(_Array),
    "dtype": _Maker(_DType),
    "scalar": _Maker(_scalar),
    "_frombuffer": _Maker(_buffer),
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module in NUMPY and name in KNOWN:
            return KNOWN[name]
        raise pickle.UnpicklingError(f"{module}.{name}")


def safe_loads(data: bytes) -> Any:
    """Returns the pickled dict, list, str, int, float, bool, None or NumPy scalar or array.

    Arrays come back as lists. Anything else raises pickle.UnpicklingError with its name, and so
    does a list that stands in itself so often that it holds more values than the pickle has bytes.
    """
    return _Plain(VALUES_OF_ANY + len(data)).of(_Unpickler(io.BytesIO(data)).load())


class _Plain:
    """Turns what was read into lists, dictionaries, texts and numbers, up to so many values."""

    def __init__(self, left: int) -> None:
        self.left = left

    def of(self, value: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise pickle.UnpicklingError("more values than bytes")
        if isinstance(value, _Array):
            return self.of(value.content)
        if isinstance(value, dict):
            return {self.of(k): self.of(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.of(v) for v in value]
        if value is None or isinstance(value, (str, int, float, bool)):
            return value
        raise pickle.UnpicklingError(type(value).__name__)


def read_npz(path: Path) -> dict[str, Any]:
    """Returns every array of a .npz file as plain lists, dictionaries, numbers and texts."""
    out = {}
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
            if size > LARGEST:
                raise ManifestError(
                    f"{path.name}: it unpacks to {size / 1e9:.1f} GB, more than any file of "
                    "labels; nothing of it was read"
                )
            for member in archive.namelist():
                out[member.removesuffix(".npy")] = _read_npy(archive.read(member))
    except pickle.UnpicklingError as error:
        raise ManifestError(
            f"{path.name}: refused, since its pickle holds more than dictionaries, texts and "
            f"numbers ({error}); nothing in it was run. Save the labels as a CSV with the columns "
            "name, discrete"
        ) from None
    except (OSError, ManifestError):
        raise
    except Exception as error:  # a damaged file can break off anywhere
        raise ManifestError(f"{path.name}: not a readable .npz file ({error})") from None
    return out


def _read_npy(data: bytes) -> Any:
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0
    if version != (1, 0):
        read = np.lib.format.read_array_header_2_0
    _, _, dtype = read(stream)
    if not dtype.hasobject:
        return np.load(io.BytesIO(data), allow_pickle=False).tolist()
    return safe_loads(stream.read())
