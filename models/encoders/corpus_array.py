"""One array for a whole corpus: an .npz file with `id` (N,) and an array of N rows."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .array_files import Archive, ArrayError, explained, listed, released
from .base import EncoderUnavailable

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK = 65_536  # rows looked at at once
TWINS = "they differ only in how their letters are composed"


@dataclass
class CorpusArray:
    """One array for a whole corpus, and which row is whose.

    What an .npz holds as it is (np.savez) stays on the disk and is looked at through a memory map;
    what it packs (np.savez_compressed) is read whole.
    """

    path: Path
    wanted: str  # name of the array, where the file has several

    @cached_property
    def _content(self) -> tuple[pa.Array, str, np.ndarray]:
        if self.path.suffix != ".npz":
            raise EncoderUnavailable(
                f"{self.path} has no ids; an .npz file with `id` and an array is needed, for "
                f"example np.savez(path, id=ids, speech=values)"
            )
        try:
            with explained(self.path), Archive(self.path) as archive:
                if "id" not in archive.shapes:
                    raise ArrayError(f"has no array `id`, only {listed(list(archive.shapes))}")
                given = archive.read("id").ravel()
                name = self._choose(dict(archive.shapes), len(given))
                values = archive.mapped(name)
        except ArrayError as error:
            raise EncoderUnavailable(f"{self.path} {error}") from error
        ids = composed_ids(given)
        if len(ids.unique()) < len(ids):
            more = f" ({TWINS})" if len(np.unique(given)) == len(given) else ""
            raise EncoderUnavailable(
                f"{self.path} has ids twice, so rows cannot be told apart{more}"
            )
        return ids, name, values

    def _choose(self, shapes: dict[str, tuple[int, ...]], rows: int) -> str:
        """Returns the name of the array that is meant, of as many rows as there are ids."""
        shapes.pop("id")
        fitting = [n for n, shape in shapes.items() if shape[:1] == (rows,)]
        wide = [n for n in fitting if len(shapes[n]) > 1]
        if self.wanted in fitting:
            return self.wanted
        if len(wide) == 1:
            return wide[0]
        if not shapes:
            raise ArrayError("holds no array beside `id`; add one with a row for each id")
        raise ArrayError(
            f"holds {listed(list(shapes))} beside `id`; say which one is meant: "
            f"path={self.path.name}:{(wide or list(shapes) or ['values'])[0]:.40}"
        )

    @property
    def ids(self) -> pa.Array:
        """The id of each row (N,), as tables spell it, in UTF-8."""
        return self._content[0]

    @cached_property
    def rows(self) -> dict[str, int]:
        """Each id's row."""
        spelled = self.ids.to_pylist()
        return {name.decode("utf-8", "surrogatepass"): row for row, name in enumerate(spelled)}

    def find(self, names: Sequence[str]) -> np.ndarray:
        """Returns the row (n,) int64 of each of many ids, -1 where the file does not name it."""
        import pyarrow as pa
        import pyarrow.compute as pc

        asked = composed_ids(np.asarray(names, dtype=object))
        if asked.equals(self.ids):
            return np.arange(len(asked))
        found = pc.call_function("index_in", [asked], pc.SetLookupOptions(self.ids))
        return found.fill_null(-1).cast(pa.int64()).to_numpy()

    @property
    def vectors(self) -> bool:
        """Whether the array holds one vector of numbers a row, (N, D)."""
        return self.values.ndim == 2 and self.values.dtype.kind in "fiu" and self.values.size > 0

    @cached_property
    def finite(self) -> np.ndarray:
        """Which rows (N,) of vectors hold finite numbers only, as float32 too: 1e39 is none."""
        found = np.empty(len(self.values), bool)
        for start in range(0, len(found), BLOCK):
            rows = slice(start, start + BLOCK)
            with np.errstate(over="ignore"):
                given = self.values[rows].astype(np.float32, copy=False)
            np.isfinite(given).all(1, out=found[rows])
            released(self.values)
        return found

    @property
    def name(self) -> str:
        """Name of the array that is used."""
        return self._content[1]

    @property
    def values(self) -> np.ndarray:
        """The array, (N, ...)."""
        return self._content[2]

    def read(self, at: np.ndarray) -> np.ndarray:
        """Returns the values (n, ...) of some rows (n,); -1 is the last one."""
        values, first = self.values, int(at[0]) if len(at) else -1
        in_order = first >= 0 and np.array_equal(at, np.arange(first, first + len(at)))
        found = np.array(values[first : first + len(at)] if in_order else values[at])
        released(values)
        return found


def composed_ids(given: np.ndarray) -> pa.Array:
    """Returns (N,) ids as tables spell them, in UTF-8; see `composed_id`."""
    import pyarrow as pa

    if given.dtype.kind in "UO":
        with suppress(pa.ArrowInvalid, pa.ArrowTypeError, UnicodeError):
            names = pa.array(given, pa.large_string())
            letters = np.frombuffer(names.buffers()[2] or b"", np.uint8)
            if not names.null_count and ((letters > ord(" ")) & (letters < 127)).all():
                return names.cast(pa.large_binary())
    spelled = [composed_id(name).encode("utf-8", "surrogatepass") for name in given.tolist()]
    return pa.array(spelled, pa.large_binary())


def composed_id(name: object) -> str:
    """Returns an id of a file as tables spell it: text without blanks around it, composed (NFC)."""
    if isinstance(name, bytes):
        name = name.decode("utf-8", "replace")
    if isinstance(name, float) and name.is_integer():
        name = int(name)
    return unicodedata.normalize("NFC", str(name).strip())
