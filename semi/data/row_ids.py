"""Ids of rows where the table has none: from what stands in a row, never from where it stands.

Sides, hidden labels and folds are drawn by a hash of the id, so that an id made of the row's number
would let the order of the rows decide them.
"""

# pandas 3 types a column as 'Series or DataFrame or scalar', so these checks only see noise here.
# pyright: reportArgumentType=false

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .wording import counted

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

IDENTIFYING = ("text", "speaker", "session", "dialogue", "language", "start", "end")
ARRAYS = (".npy", ".npz", ".safetensors", ".pt")
ID_LETTERS = 24  # letters of a text that its id begins with


def make_ids(given: Sequence[str | None], table: pd.DataFrame, raw: pd.DataFrame) -> list[str]:
    """Returns (N,) ids: the stem of the row's file, or else its first words and a hash of it.

    Where two files have one stem, their paths as the table writes them tell them apart; segments of
    one sound are told apart by their times. Rows without a file that say the same are numbered in
    the order of their other cells: those that agree in all of them are alike.

    Args:
        given: (N,) sounds as the table writes them.
        table: the cleaned columns.
        raw: (N, columns) all cells as they stand in the file.
    """
    paths = [None if p is None else _normal(p) for p in given]
    arrays = _array_paths(raw)
    free = [a for p, a in zip(paths, arrays, strict=True) if p is None and a]
    if len(set(free)) == len(free):  # one file for many rows names none of them
        paths = [p or a for p, a in zip(paths, arrays, strict=True)]
    words = _names_by_content(table, raw, [i for i, p in enumerate(paths) if p is None])
    spans = [
        ""
        if start != start and end != end
        else f"_{0.0 if start != start else start:g}" + ("" if end != end else f"-{end:g}")
        for start, end in zip(table["start"].tolist(), table["end"].tolist(), strict=True)
    ]
    stems = [None if p is None else os.path.splitext(os.path.basename(p))[0] for p in paths]
    bare = [None if p is None else os.path.splitext(p)[0] for p in paths]
    ways = [
        [words[i] if name is None else name + ends[i] for i, name in enumerate(names)]
        for names in (stems, bare, paths)
        for ends in ([""] * len(paths), spans)
    ]
    return next((ids for ids in ways if len(set(ids)) == len(ids)), ways[0])


def numbered(names: Sequence[str], cells: Sequence[Any]) -> list[str]:
    """Returns (N,) names; of equal ones the second, third ... by their cells get -2, -3 ..."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(names):
        rows[name].append(row)
    out = list(names)
    for name, same in rows.items():
        for number, row in enumerate(sorted(same, key=lambda row: cells[row])[1:], 2):
            out[row] = f"{name}-{number}"
    return out


def array_ids(arrays: Mapping[str, np.ndarray], given: Sequence[str]) -> np.ndarray:
    """Returns (N,) ids of rows of arrays (N, ...): hashes of their numbers.

    Rows with the same numbers are numbered by the arrays `given` (labels, groups), which are no
    part of the hash.
    """
    import numpy as np

    numbers = [np.ascontiguousarray(arrays[name]) for name in sorted(arrays) if name not in given]
    rows = len(arrays[given[0]])
    digests = [hashlib.blake2b(digest_size=8) for _ in range(rows)]
    for array in numbers:
        for digest, row in zip(digests, array if len(array) == rows else (), strict=False):
            digest.update(row.tobytes())
    cells = list(zip(*(arrays[name].astype(str).tolist() for name in given), strict=True))
    return np.array(numbered([f"row-{digest.hexdigest()}" for digest in digests], cells))


def _names_by_content(table: pd.DataFrame, raw: pd.DataFrame, rows: list[int]) -> dict[int, str]:
    """Returns row -> first words and hash of its cells, for rows without a file."""
    columns = zip(*(table[name].iloc[rows].tolist() for name in IDENTIFYING), strict=True)
    names = [content_id(cells[0], cells) for cells in columns]
    headers = sorted(raw.columns)
    others = zip(*(raw[name].iloc[rows].map(str).tolist() for name in headers), strict=True)
    return dict(zip(rows, numbered(names, list(others)), strict=True))


def content_id(text: object, cells: Iterable[Any]) -> str:
    """Returns the first words of a text and a hash of all cells, such as I-feel-fine-28c2c269."""
    known = [None if cell != cell else cell for cell in cells]
    digest = hashlib.blake2b(repr(known).encode("utf-8", "surrogatepass"), digest_size=4)
    start = (text if isinstance(text, str) else "")[: 4 * ID_LETTERS]
    kept = [c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in start]
    words = "-".join("".join(kept).split())[:ID_LETTERS].strip("-") or "row"
    return f"{words}-{digest.hexdigest()}"


def _array_paths(raw: pd.DataFrame) -> list[str | None]:
    """Returns the first cell of each row that names a file of numbers."""
    found: list[str | None] = [None] * len(raw)
    for name in raw.columns:
        for row, cell in enumerate(raw[name].tolist()):
            if found[row] is None and isinstance(cell, str) and cell.lower().endswith(ARRAYS):
                found[row] = _normal(cell.strip())
    return found


def _normal(path: str) -> str:
    return os.path.normpath(path.replace("\\", "/"))


def note_of(ids: Sequence[str], table: pd.DataFrame) -> list[str]:
    """Returns the sentence on ids that are made of a text, none where every row has a sound."""
    rows = table["audio"].isna().to_numpy().nonzero()[0]
    if not len(rows):
        return []
    return [
        f"no column id: {counted(len(rows), 'row')} without a sound named after what they hold, "
        f"such as {ids[rows[0]]}; a column id names them otherwise"
    ]
