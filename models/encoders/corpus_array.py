"""One array for a whole corpus: an .npz file with `id` (N,) and an array of N rows."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from .array_files import Archive, ArrayError, explained, listed
from .base import EncoderUnavailable

TWINS = "they differ only in how their letters are composed"


@dataclass
class CorpusArray:
    """One array for a whole corpus, and which row is whose."""

    path: Path
    wanted: str  # name of the array, where the file has several

    @cached_property
    def _content(self) -> tuple[dict[str, int], str, np.ndarray]:
        if self.path.suffix != ".npz":
            raise EncoderUnavailable(
                f"{self.path} has no ids; an .npz file with `id` and an array is needed, for "
                f"example np.savez(path, id=ids, speech=values)"
            )
        try:
            with explained(self.path), Archive(self.path) as archive:
                if "id" not in archive.shapes:
                    raise ArrayError(f"has no array `id`, only {listed(list(archive.shapes))}")
                given = archive.read("id").ravel().tolist()
                ids = [composed_id(name) for name in given]
                name = self._choose(dict(archive.shapes), ids)
                values = archive.read(name)
        except ArrayError as error:
            raise EncoderUnavailable(f"{self.path} {error}") from error
        if len(set(ids)) < len(ids):
            more = f" ({TWINS})" if len(set(given)) == len(given) else ""
            raise EncoderUnavailable(
                f"{self.path} has ids twice, so rows cannot be told apart{more}"
            )
        return {name: row for row, name in enumerate(ids)}, name, values

    def _choose(self, shapes: dict[str, tuple[int, ...]], ids: list[str]) -> str:
        """Returns the name of the array that is meant."""
        shapes.pop("id")
        fitting = [n for n, shape in shapes.items() if shape[:1] == (len(ids),)]
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
    def rows(self) -> dict[str, int]:
        """Each id's row."""
        return self._content[0]

    @property
    def name(self) -> str:
        """Name of the array that is used."""
        return self._content[1]

    @property
    def values(self) -> np.ndarray:
        """The array, (N, ...)."""
        return self._content[2]


def composed_id(name: object) -> str:
    """Returns an id of a file as tables spell it: text without blanks around it, composed (NFC)."""
    if isinstance(name, bytes):
        name = name.decode("utf-8", "replace")
    if isinstance(name, float) and name.is_integer():
        name = int(name)
    return unicodedata.normalize("NFC", str(name).strip())
