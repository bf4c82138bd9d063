"""What a model card says of the data: counts of rows and speakers, hours, languages; no name."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.audio import row_seconds
from ..data.config import LEAK_KINDS
from ..errors import reading
from ..files import ANEW

if TYPE_CHECKING:
    import pandas as pd

ROLES = {
    "labeled": "labelled, trained on", "pool": "unlabelled, or their label was hidden",
    "dev": "dev, held out", "test": "test, held out", "unused": "not used",
}  # fmt: skip
HELD_OUT = ("dev", "test")
MOST_FILES = 20_000  # sounds whose length is read for the card


@dataclass
class TableFacts:
    """What the table of a run says of its data as a whole."""

    seconds: float = 0.0  # of all rows whose length is known
    timed: int = 0  # rows whose length is known
    rows: int = 0
    languages: list[str] = field(default_factory=list)  # most frequent first


def data_facts(run: Path | None, table: TableFacts) -> dict[str, Any]:
    """Returns the sides of the data as counts of rows and of groups, and what the table says."""
    rows: dict[str, int] = defaultdict(int)
    groups: dict[str, set[str]] = defaultdict(set)
    path = run / "splits.csv" if run else None
    if path is not None and path.is_file():
        damaged = reading(path, "a CSV text in UTF-8", ANEW)
        with damaged, open(path, encoding="utf-8", newline="") as source:
            for row in csv.DictReader(source):
                rows[row["role"]] += 1
                groups[row["role"]].add(row["group"])
    known = [role for role in ROLES if rows.get(role)]
    held_out = set().union(*(groups[role] for role in HELD_OUT))
    return {
        "sides": [(ROLES[role], rows[role], len(groups[role])) for role in known],
        "rows": sum(rows.values()),
        "groups": len(set().union(*groups.values())) if groups else 0,
        "whole": not held_out & (groups["labeled"] | groups["pool"]),
        "length": length_words(table.seconds), "timed": table.timed, "table_rows": table.rows,
    }  # fmt: skip


def table_facts(table: pd.DataFrame | None) -> TableFacts:
    """Returns the length of the sounds of a table and the languages it names."""
    if table is None:
        return TableFacts()
    found = TableFacts(rows=len(table))
    columns: Any = table  # pandas 3 types a column as one of three things
    found.languages = [str(c) for c in columns["language"].dropna().value_counts().index]
    seconds = row_seconds(table, MOST_FILES)
    found.timed = int(np.isfinite(seconds).sum())
    found.seconds = float(np.nansum(seconds))
    return found


def length_words(seconds: float) -> str:
    """Returns 2.5 hours, or 3.1 minutes of less than one."""
    hours = seconds / 3600
    return f"{hours:,.1f} hours" if hours >= 1 else f"{seconds / 60:.1f} minutes"


def leak_words(leaks: Any) -> list[str]:
    """Returns the leaks that a run's maker accepted, as kind (count); no example of them."""
    found = []
    for leak in leaks if isinstance(leaks, list) else []:
        kind, _, rest = str(leak).partition(":")
        count = re.match(r" [\d,]+ of [\d,]+", rest)
        if kind in LEAK_KINDS:
            found.append(f"{kind} ({count[0].strip()} rows)" if count else kind)
    return found
