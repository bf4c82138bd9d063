"""What a benchmark's runs.csv holds, read back: answers of every arm on every test row.

Letters: T test rows of a corpus, D draws, S seeds, U groups, C classes.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...errors import RunError, reading
from ...files import ANEW
from ...guarded_files import CHANGED, changed_lines
from .config import BASELINES
from .corpus import BenchCorpus

KEY = ("dataset", "budget", "seed", "draw", "fold", "arm")
ALL_LABELS = "all"  # the budget of arms that are given every label
SUPERVISED, ORACLE = "supervised", "oracle"
LOGISTIC, LOGISTIC_ORACLE = "logistic", "logistic_oracle"
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def coded(predicted: np.ndarray) -> str:
    """Returns class numbers as one word: a digit of base 36 each, or joined by dots beyond 36."""
    numbers = predicted.tolist()
    if max(numbers, default=0) < len(_DIGITS):
        return "".join(_DIGITS[i] for i in numbers)
    return "." + ".".join(map(str, numbers))


def decoded(text: str) -> np.ndarray:
    """Returns the class numbers that `coded` wrote."""
    if text.startswith("."):
        return np.array([int(w) for w in text[1:].split(".")])
    return np.array([int(digit, 36) for digit in text], dtype=np.int64)


def read_runs(path: Path) -> list[dict[str, str]]:
    """Returns the lines of a runs.csv as text; a line given twice counts once.

    RunError where a line is not as it was written, or is no line of such a table.
    """
    if changed := changed_lines(path):
        raise RunError(
            f"{path}: line {changed[0]} {CHANGED}; delete that line, and what it says is run again"
        )
    with reading(path, "a list of benchmark runs", ANEW):
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
        for row in rows:
            _check(row)
    return list({tuple(row[k] for k in KEY): row for row in rows}.values())


def _check(row: dict[str, str]) -> None:
    """Raises ValueError where a line does not hold what `semi benchmark` wrote."""
    if None in row or None in row.values() or not {*KEY, "answers"} <= row.keys():
        raise ValueError("a line of it has other cells than its head")
    for name in ("seed", "draw", "fold"):
        int(row[name])
    decoded(row["answers"])


@dataclass
class Arm:
    """All complete runs of one arm at one budget: those that answered every outer fold."""

    tables: dict[tuple[int, int], np.ndarray]  # (seed, draw) -> (U, C, C) counts, rows = truth
    facts: list[dict[str, str]] = field(default_factory=list)  # the lines behind them


@dataclass
class Results:
    """One corpus: arms by (budget, arm)."""

    corpus: BenchCorpus
    groups: int  # U
    arms: dict[tuple[str, str], Arm]
    partial: int = 0  # (seed, draw, arm) that lack an outer fold and are left out

    def reference(self, arm: str) -> str:
        """Returns the arm that another is measured against."""
        return LOGISTIC if arm in BASELINES else SUPERVISED

    def budgets(self) -> list[str]:
        """Returns the budgets that were run, in the order of the file."""
        return [b for b in dict.fromkeys(b for b, _ in self.arms) if b != ALL_LABELS]


def collect(
    rows: list[dict[str, str]], corpora: dict[str, BenchCorpus], splits: dict[str, list[np.ndarray]]
) -> dict[str, Results]:
    """Returns the results of every corpus from the lines of a runs.csv."""
    found: dict[str, Results] = {}
    for name, corpus in corpora.items():
        parts = splits[name]
        groups, unit = np.unique(corpus.group, return_inverse=True)
        results = Results(corpus, len(groups), {})
        gathered: dict[tuple, dict[int, dict[str, str]]] = {}
        for row in rows:
            if row["dataset"] == name:
                key = (row["budget"], row["arm"], int(row["seed"]), int(row["draw"]))
                gathered.setdefault(key, {})[int(row["fold"])] = row
        count = len(corpus.classes)
        for (budget, arm, seed, draw), folds in gathered.items():
            if set(folds) != set(range(len(parts))):
                results.partial += 1
                continue
            table = np.zeros((len(groups), count, count))
            for fold, row in folds.items():
                test = parts[fold]
                np.add.at(table, (unit[test], corpus.label[test], decoded(row["answers"])), 1)
            entry = results.arms.setdefault((budget, arm), Arm({}))
            entry.tables[seed, draw] = table
            entry.facts += list(folds.values())
        found[name] = results
    return found


def mean_facts(lines: Sequence[dict[str, str]], names: Sequence[str]) -> dict[str, float]:
    """Returns the means of what runs say about themselves, and the share that shipped a round."""
    means = {}
    for key in names:
        numbers = [float(line[key]) for line in lines if line.get(key) not in (None, "", "nan")]
        if numbers:
            means[key] = float(np.mean(numbers))
    shipped = [line["shipped"] != "0" for line in lines if line.get("shipped")]
    return means | ({"shipped": float(np.mean(shipped))} if shipped else {})
