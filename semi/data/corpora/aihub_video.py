"""AI Hub 'emotion classification' video set: actors read numbered sentences before a camera.

스크립트.csv (number, sentence, emotion) and one sound a recording, cut out of the film: the last
three digits of its name are the sentence's number. aihub.or.kr
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ManifestError
from ..wording import counted
from .emotions import Spelling
from .files import SOUNDS, Tree, examples, plain, tally, to_table

if TYPE_CHECKING:
    import pandas as pd

HEADERS = {
    "number": ("number", "no", "no.", "num", "번호", "스크립트번호", "순번", "연번"),
    "script": ("script", "스크립트", "대사", "문장", "발화문", "text", "내용"),
    "emotion": ("emotion", "감정", "감정분류", "label"),
}
VIDEO_SUFFIXES = (".m2ts", ".mts", ".mp4")


def script_sheet(tree: Tree) -> tuple[Path, list[list[str]]] | None:
    """Returns the file of sentences beneath the tree and its (number, sentence, emotion) rows."""
    for path, _ in tree.matching(r".*\.(csv|tsv)"):
        rows = tree.rows(path)
        head = [plain(cell) for cell in rows[0]] if rows else []
        where = [
            next((j for j, name in enumerate(head) if name in known), None)
            for known in HEADERS.values()
        ]
        called = unicodedata.normalize("NFC", path.stem).lower()
        if None in where and len(head) >= 3 and ("스크립트" in called or "script" in called):
            where = [0, 1, 2]
        if None in where:
            tree.pass_over(path, "no sheet of numbered sentences")
            continue
        picked = [[row[j] if j < len(row) else "" for j in where if j is not None] for row in rows]
        return path, [row for row in picked if re.fullmatch(r"\d+(\.0+)?", row[0])]
    return None


def read_video(
    tree: Tree, sheet: tuple[Path, list[list[str]]], missing: str
) -> tuple[pd.DataFrame, list[str]]:
    """Returns the table of the recordings, label and text by the number in their names, and notes.

    `missing` keep leaves sentences that nobody recorded in the table, with their text alone.
    """
    path, rows = sheet
    spelling = Spelling()
    lines = {
        int(float(number)): (sentence, spelling.label(emotion))
        for number, sentence, emotion in rows
    }
    records, strange = _recordings(tree, lines)
    recorded = {record["script"] for record in records}
    unrecorded = [n for n in lines if n not in recorded]
    if missing == "keep":
        records += [_record(f"script_{n:03d}", None, *lines[n], n) for n in unrecorded]
    if not records:
        films = sum(p.suffix.lower() in VIDEO_SUFFIXES for p in tree.files)
        hint = f"; cut the sound out of {counted(films, 'film')} first" if films else ""
        raise ManifestError(
            f"{tree.folder}: {path.name} holds {counted(len(lines), 'sentence')}, but no sound's "
            f"name ends in the three digits of one{hint}"
        )
    table = to_table(records)
    notes = [
        f"{counted(len(table), 'recording')} of {counted(len(recorded), 'sentence')}; labels "
        f"({path.name}): " + tally(Counter(x for x in table["label"].tolist() if x))
    ]
    if strange:
        notes.append(
            f"{counted(len(strange), 'sound')} left out as ending in no number of a sentence "
            f"({examples(strange)})"
        )
    if unrecorded and missing == "drop":
        notes.append(f"{counted(len(unrecorded), 'sentence')} without a recording dropped")
    notes += spelling.notes()
    notes.append(
        "speakers are not named, and everybody reads the same sentences, whose number settles the "
        "emotion: text gives the label away; learn from speech alone (encoders.text.model=none)"
    )
    return table, notes


def _recordings(
    tree: Tree, lines: dict[int, tuple[str, str | None]]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Returns a record of every sound whose name ends in a sentence's number; names of others."""
    records: list[dict[str, Any]] = []
    strange = []
    for sound in sorted(tree.stems(SOUNDS).values()):
        digits = re.search(r"(\d{3})$", sound.stem)
        if not digits or int(digits[1]) not in lines:
            strange.append(sound.name)
            continue
        number = int(digits[1])
        records.append(_record(sound.stem, str(sound), *lines[number], number))
    return records, strange


def _record(
    name: str, sound: str | None, sentence: str, label: str | None, number: int
) -> dict[str, Any]:
    return {
        "id": name, "audio": sound, "text": " ".join(sentence.split()) or None, "label": label,
        "split": None, "language": "ko", "script": number,
    }  # fmt: skip
