"""AI Hub: 'emotional dialogue speech', and the 'emotion classification' video set.

The first has one sentence a recording, a situation and five raters; the second see aihub_video.

CSV (CP949) with wav_id, 발화문 (sentence), 상황 (situation), then N번 감정 and N번 감정세기
(emotion and strength) of each rater, 나이 (age), 성별 (sex); sounds <wav_id>.wav. aihub.or.kr
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ManifestError
from ..wording import counted
from .aihub_video import read_video, script_sheet
from .emotions import Spelling, add_votes, winners
from .files import SOUNDS, Tree, examples, number, one_of, plain, tally, to_table

if TYPE_CHECKING:
    import pandas as pd

RATER = re.compile(r"(\d+)번감정(세기)?")
SEX = {"female": "f", "여": "f", "여성": "f", "여자": "f", "f": "f"}
SEX |= {"male": "m", "남": "m", "남성": "m", "남자": "m", "m": "m"}
SPEAKERS = (
    "speakers are not named, so no split can keep them apart: results flatter the model; "
    "sentences may repeat, which semi check reports"
)


def read_aihub(
    tree: Tree, *, label: str = "situation", votes: str = "raters", missing: str = "drop"
) -> tuple[pd.DataFrame, list[str]]:
    """Returns the table of every CSV with a column wav_id of the tree, and notes.

    Where there is none but a 스크립트.csv, that of the video set.

    `label`: situation (what the speaker was asked to express) or raters (most votes). A rater of
    strength s counts s + 1 votes. Emotions are spelled as in KEMDy: the two can be put together.
    """
    one_of("label", label, ("situation", "raters"))
    one_of("votes", votes, ("raters", "none"))
    one_of("missing", missing, ("drop", "keep"))
    spelling = Spelling()
    sheets = _sheets(tree)
    if not sheets and (script := script_sheet(tree)) is not None:
        return read_video(tree, script, missing)
    if not sheets:
        raise ManifestError(
            f"{tree.folder}: no CSV with a column wav_id beneath it, such as 5차년도_2차.csv, and "
            "no 스크립트.csv of the video set"
        )
    sounds, left, notes = tree.stems(SOUNDS), _OmittedRows(), []
    records: dict[str, dict[str, Any]] = {}
    for path, rows in sheets:
        sheet = _Sheet([plain(cell) for cell in rows[0]], label, votes, spelling)
        if label == "situation" and "상황" not in sheet.column:
            raise ManifestError(f"{path.name}: no column 상황 (situation); use label=raters")
        for name, row in sheet.named(rows[1:]):
            if not name or name in records:
                left.twice.append(name)
                continue
            sound = sounds.get(name.lower())
            if sound is None:
                left.silent.append(name)
                if missing == "drop":
                    continue
            records[name] = {
                "id": name, "audio": str(sound) if sound else None, **sheet.read(row),
                "split": None, "language": "ko", "part": path.stem,
            }  # fmt: skip
        raters = counted(len(sheet.raters), "rater")
        notes.append(f"{path.name}: {counted(len(rows) - 1, 'row')}, {raters}")
    if not records:
        raise ManifestError(
            f"{tree.folder}: {counted(len(left.silent), 'row')}, but no sound of any, such as "
            f"{left.silent[0]}.wav" if left.silent else f"{tree.folder}: the CSVs hold no rows"
        )  # fmt: skip
    table = to_table(list(records.values()))
    return table, [*_notes(table, label, notes, left, missing), *spelling.notes(), SPEAKERS]


@dataclass
class _OmittedRows:
    """Rows without a sound, and rows that repeat one."""

    silent: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)


class _Sheet:
    """The columns of one CSV, and what they say of a row."""

    def __init__(self, head: list[str], label: str, votes: str, spelling: Spelling) -> None:
        self.head, self.label, self.votes, self.spelling = head, label, votes, spelling
        self.raters = _raters(head)
        self.column = {
            name: head.index(name)
            for name in ("wavid", "발화문", "상황", "성별", "나이")
            if name in head
        }

    def named(self, rows: list[list[str]]) -> list[tuple[str, list[str]]]:
        """Returns the name of each row's sound, and the row, as long as the header."""
        full = [row + [""] * (len(self.head) - len(row)) for row in rows]
        at = self.column["wavid"]
        return [(re.sub(r"\.wav$", "", row[at], flags=re.IGNORECASE), row) for row in full]

    def read(self, row: list[str]) -> dict[str, Any]:
        """Returns text, label, votes, gender and age of a row."""
        counts: dict[str, float] = {}
        for emotion, strength in self.raters:
            weight = number(row[strength]) if strength is not None else 0.0
            add_votes(counts, self.spelling.names(row[emotion]), max(0.0, weight) + 1.0
                      if weight == weight else 1.0)  # fmt: skip
        column = self.column
        return {
            "text": " ".join(row[column["발화문"]].split()) or None
            if "발화문" in column else None,
            "label": self.spelling.label(row[column["상황"]])
            if self.label == "situation" else winners(counts),
            "votes": counts if self.votes == "raters" and counts else None,
            "gender": SEX.get(row[column["성별"]].lower()) if "성별" in column else None,
            "age": row[column["나이"]] or None if "나이" in column else None,
        }  # fmt: skip


def _notes(
    table: pd.DataFrame, label: str, notes: list[str], left: _OmittedRows, missing: str
) -> list[str]:
    """Returns the notes on the whole table around those on its sheets."""
    labels = [x for x in table["label"].tolist() if isinstance(x, str)]
    ties = sum(";" in x for x in labels)
    counts = Counter(x for x in labels if ";" not in x)
    notes = [f"{counted(len(table), 'utterance')}; labels ({label}): {tally(counts)}", *notes]
    if ties:
        notes.append(
            f"{counted(ties, 'label', 'is a tie', 'are ties')}, kept as 'a;b'; data.ties says what "
            "becomes of them"
        )
    if left.silent:
        done = "dropped" if missing == "drop" else "kept for the text alone"
        notes.append(
            f"{counted(len(left.silent), 'utterance')} without a wav {done} "
            f"({examples(left.silent)})"
        )
    if left.twice:
        notes.append(
            f"{counted(len(left.twice), 'row')} left out as repeating a wav_id "
            f"({examples(left.twice)})"
        )
    return notes


def _sheets(tree: Tree) -> list[tuple[Path, list[list[str]]]]:
    """Returns the CSVs that have a column wav_id, whatever they are called."""
    sheets = []
    for path, _ in tree.matching(r".*\.(csv|tsv)"):
        rows = tree.rows(path)
        if rows and "wavid" in [plain(cell) for cell in rows[0]]:
            sheets.append((path, rows))
        else:
            tree.pass_over(path, "no column wav_id")
    return sheets


def _raters(head: list[str]) -> list[tuple[int, int | None]]:
    """Returns each rater's columns of emotion and strength; the blanks in the names vary."""
    where: dict[int, list[int | None]] = {}
    for j, name in enumerate(head):
        if match := RATER.fullmatch(name):
            where.setdefault(int(match[1]), [None, None])[bool(match[2])] = j
    return [(e, s) for e, s in (where[n] for n in sorted(where)) if e is not None]
