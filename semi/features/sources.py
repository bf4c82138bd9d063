"""What an encoder reads of each row: sound, text or an array, and the content key of it."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .keys import KEY, FileKeys, segment_key, text_key

if TYPE_CHECKING:
    import pandas as pd

    # columns, each with one entry a row: a few files are labelled without importing pandas
    Rows = pd.DataFrame | Mapping[str, Sequence[Any]]


@dataclass
class RowSource:
    """One modality's inputs, row by row of a table."""

    kind: str  # audio | text | array
    keys: np.ndarray  # (N,) S64; b"" where the row lacks this modality
    ids: list[str]  # (N,) of the utterances
    paths: list[str]  # (N,) of the files; "" for texts
    given: Callable[[int], Any]  # row -> what `read` takes, small enough to be sent elsewhere
    read: Callable[[Any], Any]  # that -> what the encoder is given; raises with the reason
    size: Callable[[int], float]  # row -> seconds of sound, characters of text, bytes of an array
    problems: dict[int, str] = field(default_factory=dict)  # rows that have no key, and why

    def load(self, row: int) -> Any:
        """Returns what the encoder is given of a row; raises with the reason."""
        return self.read(self.given(row))

    def first_rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the distinct keys (K,), sorted, and a row (K,) that has each."""
        keys, rows = np.unique(self.keys, return_index=True)
        real = keys != b""
        return keys[real], rows[real]


@dataclass
class Limits:
    """What length of sound is accepted, in seconds."""

    min_seconds: float = 0.1
    max_seconds: float = 120.0


def text_source(table: Rows, name: str = "text") -> RowSource:
    """Returns the texts of a table; a blank text counts as missing."""
    texts = [t if isinstance(t, str) and t.strip() else None for t in column(table, name)]
    keys = np.array(["" if t is None else text_key(t) for t in texts], KEY)
    return RowSource(
        kind="text",
        keys=keys,
        ids=_ids(table),
        paths=[""] * len(texts),
        given=lambda row: texts[row],
        read=as_it_is,
        size=lambda row: float(len(texts[row] or "")),
    )


def audio_source(
    table: Rows, file_keys: FileKeys, limits: Limits, *, root: str = "", workers: int = 2
) -> RowSource:
    """Returns the sounds of a table, paths or Waveforms; `start` and `end` are seconds in them."""
    from ..data.audio import Span, header_seconds
    from ..data.waveforms import Waveform

    memory = {
        row: item for row, item in enumerate(column(table, "audio")) if isinstance(item, Waveform)
    }
    paths = _paths(table, "audio", root)
    start, end = _seconds(table, "start"), _seconds(table, "end")
    files, problems = _keys_of_files(paths, file_keys, workers)
    for row, item in memory.items():
        paths[row], files[row] = item.name, item.key()
    keys = [segment_key(k, s, e) if k else "" for k, s, e in zip(files, start, end, strict=True)]

    def given(row: int) -> Any:
        span = Span(start[row], end[row], limits.min_seconds, limits.max_seconds)
        return memory.get(row, paths[row]), span

    def size(row: int) -> float:
        begin, stop = start[row] or 0.0, end[row]
        if stop is None:
            stop = memory[row].seconds if row in memory else header_seconds(paths[row])
        return max(0.0, stop - begin)

    keyed = np.array(keys, KEY)
    return RowSource("audio", keyed, _ids(table), paths, given, read_span, size, problems)


def array_source(table: Rows, encoder: Any, file_keys: FileKeys, *, workers: int = 2) -> RowSource:
    """Returns the precomputed arrays of a table, found by a column of paths or by utterance id.

    A row without a file, or whose id is unknown, lacks the modality. Each array is keyed by the
    content of its file; in one file for all, by that and its id.
    """
    ids = _ids(table)
    items = _paths(table, encoder.column, "") if encoder.column else ids
    found = [encoder.path_of(item) if item else None for item in items]
    paths = ["" if path is None else str(path) for path in found]
    keys, problems = _keys_of_files(paths, file_keys, workers)
    one_file = getattr(encoder, "corpus", None) is not None
    if one_file:
        keys = [text_key(f"{k} {name}") if k else "" for k, name in zip(keys, ids, strict=True)]
    encoder.settle(item for item, path in zip(items, paths, strict=True) if path)

    def size(row: int) -> float:
        return 1.0 if one_file else float(os.path.getsize(paths[row]))

    keyed = np.array(keys, KEY)
    return RowSource("array", keyed, ids, paths, lambda row: items[row], as_it_is, size, problems)


def as_it_is(given: Any) -> Any:
    """Returns what it is given: a text, or the name by which an encoder finds an array."""
    return given


def read_span(given: tuple[Any, Any]) -> Any:
    """Returns the sound of a path or Waveform and a Span of it."""
    from ..data.audio import load_sound

    return load_sound(*given)


def _keys_of_files(
    paths: Sequence[str], file_keys: FileKeys, workers: int
) -> tuple[list[str], dict[int, str]]:
    """Returns each row's key ("" where there is no file) and what kept a file from being read."""
    distinct = sorted({path for path in paths if path})
    found = dict(zip(distinct, file_keys.keys(distinct, workers), strict=True))
    keys, problems = [], {}
    for row, path in enumerate(paths):
        key = found.get(path, "")
        if isinstance(key, Exception):
            reason = getattr(key, "strerror", None) or str(key)
            problems[row] = f"the file cannot be read: {reason}"
            key = ""
        keys.append(key)
    file_keys.save()
    return keys, problems


def column(table: Rows, name: str) -> list[Any]:
    """Returns a column (N,) as plain values; all None where the table has none of that name."""
    if name not in table:
        return [None] * len(table["id"])
    values: Any = table[name]
    return values.tolist() if hasattr(values, "tolist") else list(values)


def _ids(table: Rows) -> list[str]:
    return [str(value) for value in column(table, "id")]


def _paths(table: Rows, name: str, root: str) -> list[str]:
    return [
        os.path.join(root, value) if isinstance(value, str) and value.strip() else ""
        for value in column(table, name)
    ]


def _seconds(table: Rows, name: str) -> list[float | None]:
    return [
        None if value is None or math.isnan(value) else float(value)
        for value in column(table, name)
    ]
