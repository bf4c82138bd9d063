"""Which column of a table may be what, by the cells in it, where its name says nothing."""

# pandas 3 types a column as 'Series or DataFrame or scalar', so these checks only see noise here.
# pyright: reportArgumentType=false

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .checks import split_named
from .headers import LISTED, SOUND_SUFFIXES
from .missing import MISSING
from .wording import WARNING, setting, shown

if TYPE_CHECKING:
    import pandas as pd

    from .headers import Header
    from .reading import Reading

WHO = re.compile(r"speaker|spk|sprech|user|person|participant|subject|talker|client|화자|^folder$")
CLASS_FOLDERS = "class folders"  # the name of this format in formats.FORMATS
FEW = 60  # different cells of a column of labels at most
SENTENCE = 3  # words: what somebody said; a class, a name or a place is shorter
WITHOUT_BLANKS = 6  # letters of a sentence in a script that writes no blanks between words


def find_split(raw: pd.DataFrame, header: Header) -> None:
    """Takes the one column whose cells name train and a held-out side as the split, in place."""
    if "split" in header.canonical.values():
        return
    found = []
    for name in raw.columns:
        if name in header.canonical:
            continue
        cells = {str(c).strip() for c in raw[name].tolist() if c is not None} - MISSING
        sides = {split_named(cell) for cell in cells} if len(cells) < 10 else set()
        if None not in sides and "train" in sides and sides & {"dev", "test"}:
            found.append(name)
    if len(found) == 1:
        header.canonical[found[0]] = "split"


def spelled_out(table: pd.DataFrame, origin: str, extra: list[str]) -> list[str]:
    """Returns a warning where labels are numbers and one more column says what each of them is.

    Args:
        table: the checked table.
        origin: header of the label's column.
        extra: columns that are carried along.
    """
    labels = table["label"].tolist()
    known = {label for label in labels if label is not None}
    if not known or len(known) > FEW or not all(re.fullmatch(r"-?\d+(\.0)?", c) for c in known):
        return []
    for name in extra:
        cells = [None if c is None else str(c).strip() for c in table[name].tolist()]
        pairs = {(a, b) for a, b in zip(labels, cells, strict=True) if a is not None}
        words = {b for _, b in pairs}
        if len(pairs) == len(known) == len(words) and all(b and b[0].isalpha() for b in words):
            choose = setting("data.columns", {"label": name})
            return [
                f"{WARNING}the labels in '{shown(origin, 40)}' are numbers that "
                f"'{shown(name, 40)}' spells out; {choose} takes the words"
            ]
    return []


def label_hint(reading: Reading, table: pd.DataFrame) -> str:
    """Returns which columns may hold the labels, where none was recognised, for a message."""
    if {"label", "votes"} & set(reading.named.values()) or not reading.carried:
        return ""
    carried = [name for name in reading.carried if name in table]
    kinds = {n: table[n].dropna().map(str).str.strip().unique() for n in carried}
    likely = [
        n for n, found in kinds.items()
        if 1 < len(found) <= min(FEW, len(table) / 2) and all(c[:1].isalpha() for c in found)
    ]  # fmt: skip
    listed = ", ".join(f"'{shown(name, 40)}'" for name in carried[:LISTED])
    choose = setting("data.columns", {"label": (likely or carried)[0]})
    counts = "; counts of votes stand in columns named votes_<class>" if not likely else ""
    return (
        f"; if one of the columns that are carried along ({listed}) holds the labels, name it, as "
        f"in {choose}{counts}"
    )


def speaker_hint(reading: Reading) -> str:
    """Returns which carried column may tell the speakers, by its name, for a message."""
    found = next((n for n in reading.carried if WHO.search(n.casefold())), None)
    if found is None and reading.kind == CLASS_FOLDERS:
        return "; folders of each speaker within the classes tell them apart, as angry/spk3/001.wav"
    if found is None:
        return ""
    choose = setting("data.columns", {"speaker": found})
    return f"; if '{shown(found, 40)}' tells them apart, set {choose}"


def holding_inputs(table: pd.DataFrame, columns: Sequence[str], what: str) -> list[str]:
    """Returns those columns that hold sounds (what=audio) or sentences (text), by most cells.

    Args:
        table: a checked table.
        columns: those that no name says anything about.
        what: `audio` or `text`; of any other word no column is known.
    """
    if what not in ("audio", "text"):
        return []
    holds = _is_sound_name if what == "audio" else _is_sentence
    found = []
    for name in columns:
        cells = [c for c in table[name].tolist() if isinstance(c, str)] if name in table else []
        if cells and 2 * sum(holds(cell) for cell in cells) > len(cells):
            found.append(name)
    return found


def _is_sound_name(cell: str) -> bool:
    return cell.strip().casefold().endswith(SOUND_SUFFIXES)


def _is_sentence(cell: str) -> bool:
    if _is_sound_name(cell):
        return False
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in cell)
    return (
        wide >= WITHOUT_BLANKS or sum(any(c.isalpha() for c in w) for w in cell.split()) >= SENTENCE
    )
