"""The groups that a run's rows are scored by: the values of a column, or parts of its range.

Letters: n rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ..data.audio import seconds_or_none
from ..data.manifest import Manifest
from ..data.missing import MISSING
from ..data.noisiness import measure
from ..data.wording import counted, listed, nearest, shown
from ..errors import AudioError, RunError

if TYPE_CHECKING:
    import pandas as pd

MEASURED = ("duration", "snr")  # told from the sound where no column says it
NAME_COLUMNS = (
    "id",
    "audio",
    "text",
    "label",
    "speaker",
    "session",
    "dialogue",
    "split",
    "language",
)
QUANTILE_PARTS = 4  # parts of equal size that numbers are cut into
FEW_NUMBERS = 8  # numbers that differ less often than this are groups as they stand
NO_VALUE = "(none)"  # the group of the rows without a value
COLUMN_UNITS = {"duration": "s", "seconds": "s", "snr": "dB"}
Heard = dict[tuple[str, float | None, float | None], dict[str, float]]  # file, start, end -> it


@dataclass
class Column:
    """What a column says of n rows."""

    name: str  # as it was asked for
    values: np.ndarray  # (n,) str, the group of each row
    order: list[str]  # the groups: parts of a range from low to high, the others by name
    notes: list[str] = field(default_factory=list)  # where its values are from, in sentences


def group_column(
    manifest: Manifest, name: str, rows: np.ndarray, workers: int = 1, heard: Heard | None = None
) -> Column:
    """Returns what a column of the manifest says of some rows.

    `duration` and `snr` are measured where no column holds them. Numbers are cut into quarters of
    these rows; rows without a value are a group of their own.

    Args:
        manifest: the run's.
        name: of the column, as it is called there or in the table it was read from.
        rows: (n,) places in the manifest.
        workers: threads that read sounds.
        heard: what was measured for other columns; what is measured now is added.
    """
    table, column = manifest.table.iloc[rows], _column(manifest, name)
    if column is None and name not in MEASURED:
        raise RunError(
            f"{manifest.path} has no column {shown(name)}{nearest(name, columns_of(manifest))}; "
            f"rows can be told apart by {listed(columns_of(manifest), 30)}"
        )
    notes: list[str] = []
    if column is not None:
        cells = table[column].tolist()
    else:
        cells, notes = _measured(table, name, workers, {} if heard is None else heard)
    numbers = None if column in NAME_COLUMNS else _numbers(cells)
    if numbers is not None and len(set(numbers[~np.isnan(numbers)].tolist())) > FEW_NUMBERS:
        values, order = _parts(numbers, COLUMN_UNITS.get(column or name, ""))
        return Column(name, values, order, notes)
    words = np.array([NO_VALUE if _is_missing(c) else _word(c) for c in cells], dtype=object)
    known = sorted(set(words.tolist()) - {NO_VALUE}, key=_natural)
    return Column(name, words, [*known, *[NO_VALUE] * bool((words == NO_VALUE).any())], notes)


def columns_of(manifest: Manifest) -> list[str]:
    """Returns the names that rows can be told apart by."""
    table = manifest.table
    filled = [str(c) for c in table.columns if not all(map(_is_missing, table[c].tolist()))]
    measured = [m for m in MEASURED if "audio" in filled and _column(manifest, m) is None]
    return [*filled, *measured]


def _column(manifest: Manifest, name: str) -> str | None:
    """Returns the manifest's column of a name, also of the header that the table has for it."""
    table = manifest.table
    wanted = [name, *([manifest.reading.named[name]] if name in manifest.reading.named else [])]
    wanted += ["seconds"] if name == "duration" else []
    found = [c for c in wanted if c in table and not all(map(_is_missing, table[c].tolist()))]
    return found[0] if found else None


def _measured(
    table: pd.DataFrame, name: str, workers: int, heard: Heard
) -> tuple[list[float], list[str]]:
    """Returns the duration or snr of every row, NaN where nothing can be heard, and notes."""
    cells = zip(table["audio"], table["start"], table["end"], strict=True)

    def of(row: tuple) -> float:
        path, start, end = row
        if _is_missing(path):
            return float("nan")
        sound = (str(path), seconds_or_none(start), seconds_or_none(end))
        if sound not in heard:
            try:
                heard[sound] = measure(*sound)
            except AudioError:
                heard[sound] = dict.fromkeys(MEASURED, float("nan"))
        return heard[sound][name]

    with ThreadPoolExecutor(max(1, workers)) as pool:
        found = list(pool.map(of, cells))
    lost = int(np.isnan(found).sum())
    if lost == len(found):
        raise RunError(
            f"none of {counted(lost, 'row')} has a sound that can be read, so {name} cannot be "
            f"measured; add a column {name} to the table"
        )
    how = {"duration": "the length", "snr": "NIST's quick estimate"}[name]
    notes = [f"{name} is measured from the sounds ({how})"]
    if lost:
        notes[0] += f"; {counted(lost, 'row', 'has', 'have')} none that can be read"
    return found, notes


def _numbers(cells: Sequence) -> np.ndarray | None:
    """Returns (n,) floats, NaN where missing; None where a cell is no number."""
    try:
        found = [float("nan") if _is_missing(c) else float(c) for c in cells]
    except (TypeError, ValueError):
        return None
    return np.array(found)


def _parts(numbers: np.ndarray, unit: str) -> tuple[np.ndarray, list[str]]:
    """Returns (n,) which part of the range each number is in, and the parts from low to high."""
    known = ~np.isnan(numbers)
    # bounds that occur: nothing is worked out between two numbers, one of which may be infinite
    bounds = np.unique(
        np.quantile(numbers[known], np.linspace(0, 1, QUANTILE_PARTS + 1), method="higher")
    )
    part = np.clip(np.searchsorted(bounds, numbers, side="right") - 1, 0, max(len(bounds) - 2, 0))
    ends, tail = _short(bounds), f" {unit}" if unit else ""
    names = [f"{low} to below {high}{tail}" for low, high in pairwise(ends)]
    names[-1] = names[-1].replace("to below", "to")
    values = np.array(
        [names[p] if k else NO_VALUE for p, k in zip(part, known, strict=True)], object
    )
    return values, [*names, *[NO_VALUE] * bool((~known).any())]


def _short(bounds: np.ndarray) -> list[str]:
    """Returns the bounds with as few digits as tell them apart, at least three."""
    for digits in range(3, 18):
        words = [f"{bound:.{digits}g}" for bound in bounds]
        if len(set(words)) == len(words):
            break
    return words


def _is_missing(cell: object) -> bool:
    return cell is None or cell != cell or (isinstance(cell, str) and cell.strip() in MISSING)


def _word(cell: object) -> str:
    """Returns a cell as the name of a group; 3.0 of a column of numbers is 3."""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell)


def _natural(word: str) -> tuple[int, float, str]:
    """Returns the key that puts 2 before 10, and numbers before words."""
    try:
        return 0, float(word), word
    except ValueError:
        return 1, 0.0, word
