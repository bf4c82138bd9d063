"""Features that somebody computed already: one file an utterance, or one array a corpus.

Three layouts: a manifest column of file paths; a folder of <id>.npy files (the `-UTT` folders of
MER2024); one .npz file with `id` (N,) and an array (N, D), (N, T, D) or (N, L, D).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import arrays
from .array_files import ARRAY_SUFFIXES, ArrayError, listed, load_array
from .base import ArrayBatch, ArrayProblem, EncoderUnavailable
from .config import ArrayConfig, SpeechConfig, TextConfig, stored_as
from .corpus_array import TWINS, CorpusArray, composed_id

FORMS = ("NFC", "NFD")  # in which a file's name may stand on the disk
CODE = 1  # raised whenever this package's own arithmetic changes the numbers


class PrecomputedEncoder:
    """Reads arrays by id or path and pools them; items are what `column`, or else `id`, holds."""

    def __init__(
        self,
        modality: str,
        *,
        path: str = "",
        column: str = "",
        root: str = "",
        layers: list[int] | None = None,
        combine: str = "mean",
        pooling: str = "mean",
    ) -> None:
        self.modality = modality
        self.column = column
        self.root = path or root if column else root
        self.layers = list(layers or [])
        self.combine, self.pooling = combine, pooling
        self._shape: tuple[int, ...] | None = None
        self.corpus: CorpusArray | None = None
        self.folder = Path(self.root)
        if column:
            return
        if not path:
            raise ValueError(
                f"{modality}: precomputed features need `path` (a folder of <id>.npy files, or an "
                f".npz file with `id`) or `column` (a manifest column of file paths)"
            )
        found, name = _locate(path, root)
        if found is None:
            raise EncoderUnavailable(
                f"{modality}: path={path} is neither a folder of <id>.npy files nor an .npz file"
            )
        if found.is_dir():
            self.folder = found
        else:
            self.corpus = CorpusArray(found, name or modality)

    @classmethod
    def from_config(
        cls, config: SpeechConfig | TextConfig | ArrayConfig, *, modality: str, root: str = ""
    ) -> PrecomputedEncoder:
        """Returns the reader that a section of the configuration describes."""
        return cls(
            modality,
            path=config.path,
            column=config.column,
            root=root,
            layers=getattr(config, "layers", []),
            combine=getattr(config, "combine", "mean"),
            pooling=config.pooling,
        )

    @property
    def frames(self) -> bool:
        """Whether every frame is kept."""
        return self.pooling == "frames"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one utterance's result, which the first usable array sets."""
        self.settle()
        if self._shape is None:
            raise ValueError(f"{self.modality}: no array has been read yet that gives the width")
        return self._shape

    @property
    def in_place(self) -> bool:
        """Whether rows are what the file holds, one vector each: nothing is pooled or stored."""
        plain = self.pooling == "mean" and not self.layers
        return plain and self.corpus is not None and self.corpus.vectors

    def settle(self, items: Iterable[str] = ()) -> None:
        """Takes the shape from the first usable array, unless it is known.

        `items` are what to try where only a column, row by row, says which files there are.
        """
        if self._shape is None and self.in_place and self.corpus is not None:
            self._shape = self.corpus.values.shape[1:]
        if self._shape is None:
            read = (self._try(item, self._pool) for item in chain(self._items(), items))
            self._shape = next((r.shape for r in read if isinstance(r, np.ndarray)), None)

    def _items(self) -> Iterator[str]:
        """Yields what there is to read, in order; nothing where a column says it row by row."""
        if self.corpus is not None:
            yield from (name.as_py().decode("utf-8", "surrogatepass") for name in self.corpus.ids)
        elif not self.column:
            yield from self._files

    @cached_property
    def _files(self) -> dict[str, Path]:
        """Each id's file in a folder, by name; its letters composed, as in a table."""
        found: dict[str, Path] = {}
        for path in sorted(self.folder.iterdir()):
            if path.suffix in ARRAY_SUFFIXES:
                other = found.setdefault(composed_id(path.stem), path)
                if other.stem != path.stem:
                    raise EncoderUnavailable(
                        f"{self.folder} has two files whose names look the same, "
                        f"'{path.name:.80}' ({TWINS}); remove one of them"
                    )
        return found

    def identity(self) -> dict[str, Any]:
        """Returns everything that changes the numbers; see Encoder.

        What the files hold is no part of this but of each row's own key: a model reads new arrays
        if they are called as its own were and give vectors of their shape.
        """
        self.settle()
        return {
            "encoder": "precomputed",
            "code": CODE,
            "array": self.corpus.name if self.corpus is not None else None,
            "shape": None if self._shape is None else list(self._shape),
            "layers": self.layers,
            "combine": stored_as(self.combine),
            "pooling": self.pooling,
        }

    def path_of(self, item: str) -> Path | None:
        """Returns the file of an item (an id, or a path of the column), None without one."""
        if self.corpus is not None:
            return self.corpus.path if composed_id(item) in self.corpus.rows else None
        if self.column:
            spelled = dict.fromkeys([item, *(unicodedata.normalize(f, item) for f in FORMS)])
            paths = (path for name in spelled for path in (self.folder / name, Path(name)))
            return next((path for path in paths if path.is_file()), None)
        paths = (self.folder / f"{item}{suffix}" for suffix in ARRAY_SUFFIXES)
        path = next((path for path in paths if path.is_file()), None)
        return path or (None if item.isascii() else self._files.get(composed_id(item)))

    def read(self, batch: list[str]) -> ArrayBatch:
        """Returns each item's vector, or why it has none: missing, or damaged."""
        results = [self._try(item, self._pool) for item in batch]
        good = [r for r in results if isinstance(r, np.ndarray)]
        if good and self.column and self._shape is None:
            self._shape = good[0].shape
        for i, result in enumerate(results):
            if isinstance(result, np.ndarray) and result.shape != self.shape:
                reason = f"gives shape {result.shape} where the others give {self.shape}"
                results[i] = ArrayProblem(batch[i], "damaged", reason)
        present = torch.tensor([isinstance(r, np.ndarray) for r in results], dtype=torch.bool)
        values = torch.zeros(len(batch), *(self.shape if good else ()))
        for i, result in enumerate(results):
            if isinstance(result, np.ndarray):
                values[i] = torch.from_numpy(result)
        return ArrayBatch(values, present, [r for r in results if isinstance(r, ArrayProblem)])

    def encode(self, batch: list[str]) -> torch.Tensor:
        """Returns (B, *shape) float32; ValueError where an item cannot be used."""
        if self.frames:
            raise ValueError("pooling is 'frames', which keeps every frame: call encode_frames")
        result = self.read(batch)
        _raise(result.problems)
        return result.values

    def encode_frames(self, batch: list[str]) -> list[torch.Tensor]:
        """Returns each item's frames, (T, D), or (T, L, D) for views."""

        def use(array: np.ndarray) -> np.ndarray:
            return arrays.frames_of(array, layers=self.layers, combine=self.combine)

        results = [self._try(item, use) for item in batch]
        _raise([r for r in results if isinstance(r, ArrayProblem)])
        return [torch.from_numpy(r) for r in results if isinstance(r, np.ndarray)]

    def _try(self, item: str, use: Any) -> np.ndarray | ArrayProblem:
        try:
            path = self.path_of(item)
            if path is None:
                return ArrayProblem(item, "missing", self._where(item))
            if self.corpus is not None:
                row = self.corpus.rows[composed_id(item)]
                return use(np.array(self.corpus.values[row]))  # a copy of what is only mapped
            return use(load_array(path, self.modality))
        except ArrayError as error:
            return ArrayProblem(item, "damaged", str(error))

    def nothing_found(self) -> str:
        """Returns the sentence for a table of which no row has an array here."""
        if self.column:
            return f"no row's column {self.column} names a file that is there; are its paths right?"
        where = self.corpus.path if self.corpus is not None else self.folder
        theirs = listed(list(islice(self._items(), 3)))
        return (
            f"no id of the table is among those of {where} ({theirs} ...); the column id must "
            f"say the same"
        )

    def _where(self, item: str) -> str:
        if self.corpus is not None:
            return f"is not among the ids of {self.corpus.path.name}"
        return "does not exist" if self.column else f"has no file in {self.folder}"

    def _pool(self, array: np.ndarray) -> np.ndarray:
        pooling = "mean" if self.frames else self.pooling
        return arrays.pool_array(array, layers=self.layers, combine=self.combine, pooling=pooling)


def _locate(path: str, root: str) -> tuple[Path | None, str]:
    """Returns the file or folder of `path`, also below `root`, and the name after its last ':'."""
    file, _, name = path.rpartition(":")
    for text, array in ((path, ""), (file, name)):
        for base in (Path(), Path(root)):
            found = base / Path(text).expanduser()
            if text and found.exists():
                return found, array
    return None, ""


def _raise(problems: list[ArrayProblem]) -> None:
    if problems:
        listed = "; ".join(f"{p.item} {p.reason}" for p in problems[:3])
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise ArrayError(f"{listed}{more}")
