"""The account of a folder: how many files were read, on which side rows are, what was not read."""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import how_to_install
from ..wording import counted
from .files import FILMS, SOUNDS, Tree, examples, tally

if TYPE_CHECKING:
    import pandas as pd

TABLES_SHOWN = 10  # ignored tables told by name


POINTER = b"version https://git-lfs"  # what Git leaves in a file's place without git lfs


def summary(table: pd.DataFrame) -> str:
    """Returns how many utterances, speakers and labels a table has."""
    labels = [x for x in table["label"].tolist() if isinstance(x, str)]
    counts = Counter(x for x in labels if ";" not in x)
    others = [f"{len(labels) - sum(counts.values())} tied"] * (len(labels) > sum(counts.values()))
    others += [f"{len(table) - len(labels)} without"] * (len(table) > len(labels))
    speakers = len(set(table["speaker"].dropna().tolist()))
    return (
        f"{counted(len(table), 'utterance')} of {counted(speakers, 'speaker')}; labels: "
        + ", ".join([tally(counts), *others])
    )


def account(tree: Tree, table: pd.DataFrame) -> list[str]:
    """Returns the closing sentences on a corpus: files read, roles of rows, files left alone."""
    used = tree.opened | _named(tree, table)
    rest = [path for path in tree.files if path not in used]
    notes = [f"read {len(used)} of {counted(len(tree.files), 'file')} beneath {tree.folder}"]
    sides = table["split"].dropna().tolist() if "split" in table else []
    if sides:
        without = len(table) - len(sides)
        notes.append(f"roles: {tally(Counter(sides))}" + f", {without} of none" * bool(without))
    else:
        notes.append("roles: the corpus gives no split, data.test_fraction holds a share out")
    notes += _films(table)
    pointers = [path for path in used if _is_pointer(path)]
    if pointers:
        notes.append(
            f"{len(pointers)} of them are Git LFS pointers in place of the files: run git lfs pull "
            f"there ({examples(sorted(path.name for path in pointers))})"
        )
    unread = {path: why for path, why in tree.ignored.items() if path not in used}
    for path, why in list(unread.items())[:TABLES_SHOWN]:
        notes.append(f"ignored {path.relative_to(tree.folder)}: {why}")
    if len(unread) > TABLES_SHOWN:
        more = counted(len(unread) - TABLES_SHOWN, "other table")
        notes.append(f"ignored {more} of the kind")
    kinds = Counter(_kind(path) for path in rest if path not in unread)
    if kinds:
        notes.append(f"ignored beside them: {tally(kinds)}")
    return notes


def _films(table: pd.DataFrame) -> list[str]:
    """Returns a sentence on the utterances whose sound is in a film, if there are any."""
    cells = table["audio"].tolist() if "audio" in table else []
    files = [Path(cell) for cell in cells if isinstance(cell, str)]
    films = [path.name for path in files if path.suffix.lower() in FILMS]
    if not films:
        return []
    note = (
        f"{counted(len(films), 'utterance', 'has', 'have')} a film and no sound file; the film's "
        "sound is used"
    )
    if importlib.util.find_spec("av") is None:
        note += (
            f", which needs PyAV, not installed here: {how_to_install('m4a')}, or none of them can "
            "be heard"
        )
    return [f"{note} ({examples(films)})"]


def _named(tree: Tree, table: pd.DataFrame) -> set[Path]:
    """Returns the files that a column of the table names, such as audio and feature columns."""
    there = {str(path): path for path in tree.files}
    named: set[Path] = set()
    for column in table.columns:
        cells = (cell for cell in table[column].tolist() if isinstance(cell, str))
        named |= {there[cell] for cell in cells if cell in there}
    return named


def _is_pointer(path: Path) -> bool:
    if path.stat().st_size > 1000:
        return False
    with open(path, "rb") as file:
        return file.read(len(POINTER)) == POINTER


def _kind(path: Path) -> str:
    suffix = path.suffix.lower()
    return suffix + (" sounds" if suffix in SOUNDS else " films" if suffix in FILMS else "")
