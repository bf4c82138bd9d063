"""The report's section of scores by group: what `semi evaluate --by` kept in the run's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..checksums import is_current
from ..errors import reading
from ..files import ANEW, read_table
from .names import METRIC_NAMES
from .text import p_words, percent, points

GROUP_TABLE = "groups.csv"  # in a run: scores by group of its last `semi evaluate --by`
GROUP_COLUMNS = ("column", "value", "rows", "units", "unit", "split", "metric", "p_holm",
           "difference", "difference_low", "difference_high", "note")  # fmt: skip
GROUPS_SHOWN = 60  # of a column


def group_tables(run: str | Path) -> list[dict[str, Any]]:
    """Returns a table for each column that the run was last evaluated by; none where it was not.

    A table that belongs to an earlier state of the run is not shown.
    """
    path = Path(run, GROUP_TABLE)
    if not is_current(path):
        return []
    table = read_table(path, GROUP_COLUMNS)
    found = []
    with reading(path, "a table of scores by group", ANEW):
        names = table.columns.tolist()
        cells = [dict(zip(names, row, strict=True)) for row in table.to_numpy().tolist()]
        for column in dict.fromkeys(row["column"] for row in cells):
            rows = [r for r in cells if r["column"] == column]
            first = rows[0]
            found.append({
                "column": column, "split": first["split"], "unit": first["unit"],
                "metric": METRIC_NAMES.get(first["metric"], first["metric"]),
                "rows": [_shown(row) for row in rows[:GROUPS_SHOWN]],
                "more": max(0, len(rows) - GROUPS_SHOWN),
            })  # fmt: skip
    return found


def _shown(row: dict[str, str]) -> dict[str, str]:
    name = row["metric"]
    score = [_number(row.get(key)) for key in (name, f"{name}_low", f"{name}_high")]
    gap = [_number(row[f"difference{end}"]) for end in ("", "_low", "_high")]
    p = _number(row["p_holm"])
    return {
        "value": row["value"], "rows": row["rows"], "units": row["units"],
        "score": percent(*score), "note": row["note"],
        "gap": points(*gap), "p": p_words(p),
        "mark": "" if p is None or p >= 0.05 or gap[0] is None
        else "wrong" if gap[0] < 0 else "right",
    }  # fmt: skip


def _number(cell: str | None) -> float | None:
    return None if cell in (None, "", "nan") else float(cell)
