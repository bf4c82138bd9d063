"""The report's tables of single gold utterances: what the model gets wrong, and labels it doubts.

They come from answers.csv of the run; without it there are none.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import RunError, reading
from ..files import ANEW, read_table
from .multitask import AFFECT
from .report_sounds import Utterances

GOLD_ANSWERS, SUSPECTS = "answers.csv", "suspects.csv"
ANSWER_TEXTS = ("id", "role", "label", "said")  # columns of answers.csv that are no numbers
ANSWER_COLUMNS = ("label", "said", "confidence")
MISTAKES_LISTED, MISTAKES_HEARD = 100, 28
SUSPECTS_LISTED, SUSPECTS_HEARD = 20, 10


@dataclass
class ReportCell:
    """One cell: what is shown, what it is sorted by, and how it is marked."""

    text: str
    value: float | str
    mark: str = ""  # right | wrong, else nothing


@dataclass
class ReportRow:
    """One utterance in a table."""

    id: str
    cells: list[ReportCell]
    place: str = ""  # its cell of the confusion matrix: 0-4 is gold class 0, said class 4
    clip: str = ""  # data: address
    text: str = ""
    speaker: str = ""


@dataclass
class RowTable:
    """Utterances with one cell a column, and how many more there are."""

    key: str
    columns: list[tuple[str, bool]]  # title, is it a number
    rows: list[ReportRow] = field(default_factory=list)
    more: int = 0

    @property
    def heard(self) -> bool:
        """Says whether a row can be played."""
        return any(row.clip for row in self.rows)

    @property
    def read(self) -> bool:
        """Says whether the text of a row is known."""
        return any(row.text for row in self.rows)

    @property
    def speakers(self) -> bool:
        """Says whether the speaker of a row is known."""
        return any(row.speaker for row in self.rows)

    def fill(self, utterances: Utterances, heard: int) -> RowTable:
        """Adds texts and speakers, and up to `heard` clips; every cell of a matrix gets its share.

        The first row of each cell comes first, then the second of each.
        """
        utterances.look_up([row.id for row in self.rows])
        seen: Counter[str] = Counter()
        turns = []
        for number, row in enumerate(self.rows):
            row.text, row.speaker = utterances.text(row.id), utterances.speaker(row.id)
            turns.append((seen[row.place] if row.place else number, number))
            seen[row.place] += 1
        for _, number in sorted(turns):
            if heard and (clip := utterances.clip(self.rows[number].id)):
                self.rows[number].clip = clip
                heard -= 1
        return self


def read_answers(run: Path) -> list[dict[str, Any]]:
    """Returns the rows of answers.csv with numbers as floats; [] where there is none."""
    path = run / GOLD_ANSWERS
    if not path.is_file():
        return []
    table = read_table(path, ("id", "role"))
    by_class = "label" in table or "said" in table
    needed = ANSWER_COLUMNS if by_class else [n for a in AFFECT for n in (a, f"said_{a}")]
    if lacking := [name for name in needed if name not in table]:
        raise RunError(f"{path} lacks the column {lacking[0]}; {ANEW}")
    with reading(path, "a table of answers", ANEW):
        return [
            {str(k): str(v) if k in ANSWER_TEXTS else number(v) for k, v in row.items()}
            for row in table.to_dict("records")
        ]


def number(cell: Any) -> float:
    """Returns a cell of a table as a number, NaN where it is none."""
    try:
        return float(cell)
    except (TypeError, ValueError):
        return math.nan


def is_wrong(row: dict[str, Any]) -> bool:
    """Says whether the model's answer is not the given one; of values, whether it can be judged."""
    if "label" in row:
        return row["label"] != row["said"]
    return not math.isnan(_distance(row))


def mistakes(
    answers: Sequence[dict], role: str, classes: Sequence[str], utterances: Utterances,
    most: int = MISTAKES_LISTED,
) -> RowTable:  # fmt: skip
    """Returns the gold rows of a role that the model gets wrong, the surest first.

    Of each class the right answer follows that the model is least sure of. Of valence and arousal
    the answers that are farthest off come first.

    Args:
        answers: rows of answers.csv.
        role: of the rows that are asked for.
        classes: in the order of the confusion matrix.
        utterances: what there is to hear and to read.
        most: wrong answers that are listed.
    """
    own = [row for row in answers if row["role"] == role]
    wrong = sorted(filter(is_wrong, own), key=_rank)
    shown, right = wrong[:most], {}
    if own and "label" in own[0]:
        doubtful = sorted(own, key=lambda r: (r["confidence"], r["id"]))
        for row in (r for r in doubtful if not is_wrong(r)):
            right.setdefault(row["label"], row)
    index = {name: k for k, name in enumerate(classes)}
    listed = [*shown, *(right[name] for name in sorted(right) if name in index)]
    table = RowTable("mistakes", _columns(own), more=len(wrong) - len(shown))
    for row in listed:
        at = (index.get(row.get("label", "")), index.get(row.get("said", "")))
        place = "" if None in at else f"{at[0]}-{at[1]}"
        table.rows.append(ReportRow(row["id"], _cells(row), place))
    return table.fill(utterances, MISTAKES_HEARD)


def suspects(run: Path, answers: Sequence[dict], utterances: Utterances) -> RowTable:
    """Returns the gold training rows that the model contradicts out-of-fold, the surest first.

    Where `semi suspects` has written suspects.csv, its rows in its order.
    """
    own = {row["id"]: row for row in answers if row["role"] == "labeled"}
    found = sorted(filter(is_wrong, own.values()), key=_rank)
    if (run / SUSPECTS).is_file():
        ids = read_table(run / SUSPECTS, ("id",))["id"].tolist()
        found = [own[name] for name in ids if name in own]
    listed = found[:SUSPECTS_LISTED]
    table = RowTable("suspects", _columns(listed), more=len(found) - len(listed))
    table.rows = [ReportRow(row["id"], _cells(row)) for row in listed]
    return table.fill(utterances, SUSPECTS_HEARD)


def _rank(row: dict[str, Any]) -> tuple:
    """Returns what sorts the worst mistake first: the surest, or the farthest off."""
    return (-row["confidence"] if "label" in row else -_distance(row), row["id"])


def _distance(row: dict[str, Any]) -> float:
    """Returns how far the said valence and arousal are from the given ones, NaN if not given."""
    gaps = [row[f"said_{name}"] - row[name] for name in AFFECT if f"said_{name}" in row]
    known = [gap for gap in gaps if not math.isnan(gap)]
    return math.hypot(*known) if known else math.nan


def _columns(rows: Sequence[dict]) -> list[tuple[str, bool]]:
    if not rows or "label" in rows[0]:
        return [("gold", False), ("model says", False), ("sure %", True)]
    return [(name + end, True) for name in AFFECT for end in (" given", " said")]


def _cells(row: dict[str, Any]) -> list[ReportCell]:
    if "label" in row:
        mark = "wrong" if is_wrong(row) else "right"
        sure = row["confidence"]
        return [
            ReportCell(row["label"], row["label"]),
            ReportCell(row["said"], row["said"], mark),
            ReportCell(f"{100 * sure:.0f}", sure),
        ]
    values = [v for name in AFFECT for v in (row[name], row[f"said_{name}"])]
    return [ReportCell("-", "") if math.isnan(v) else ReportCell(f"{v:+.2f}", v) for v in values]
