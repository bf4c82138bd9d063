"""The report's table of what the shipped round learned from: the doubtful pseudo-labels of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ..errors import reading
from ..files import ANEW, read_table
from .multitask import AFFECT
from .report_rows import ReportCell, ReportRow, RowTable, number
from .report_sounds import Utterances

LEDGER_TABLE = "ledger.parquet"
PICK_COLUMNS = ("id", "label", "confidence", "flips", *AFFECT, *(f"{a}_spread" for a in AFFECT))
PICKS_LISTED, PICKS_HEARD = 24, 20  # half of them the least sure, half those that changed most


def picks(run: Path, round_number: int, utterances: Utterances) -> RowTable:
    """Returns the least sure pseudo-labels of a round, and those whose label changed most.

    Args:
        run: the run's folder.
        round_number: the round that ships; 0 learned from gold alone.
        utterances: sounds and texts. A label that was hidden from the run is not shown beside what
            it learned: whoever reviews these rows next is to judge by ear.
    """
    path = run / LEDGER_TABLE
    table = RowTable("picks", [])
    if not round_number or not path.is_file():
        return table
    ledger = read_table(path, ("id", "round", "chosen"))
    with reading(path, "a ledger", ANEW):
        own = (ledger["round"] == round_number) & ledger["chosen"].astype(bool)
        shown = ledger.loc[own, [name for name in ledger if name in PICK_COLUMNS]]
        rows = [_pick(row) for row in shown.to_dict("records")]
    doubtful = sorted(rows, key=lambda r: (r["doubt"], r["id"]))
    flipped = sorted((r for r in rows if r["flips"]), key=lambda r: (-r["flips"], r["id"]))
    half = PICKS_LISTED // 2
    listed = {r["id"]: r for r in [*doubtful[:half], *flipped[:half]]}
    for row in doubtful[half:]:
        if len(listed) < PICKS_LISTED:
            listed.setdefault(row["id"], row)
    by_class = not listed or "label" in next(iter(listed.values()))
    table.more = len(rows) - len(listed)
    table.columns = _columns(by_class)
    for name, row in listed.items():
        cells = [*row["cells"], ReportCell(str(row["flips"]), row["flips"])]
        table.rows.append(ReportRow(name, cells))
    return table.fill(utterances, PICKS_HEARD)


def _columns(by_class: bool) -> list[tuple[str, bool]]:
    if by_class:
        return [("label learned", False), ("sure %", True), ("flips", True)]
    return [*((name, True) for name in AFFECT), ("spread", True), ("flips", True)]


def _pick(row: dict[str, Any]) -> dict[str, Any]:
    """Returns a row of the ledger as cells, and what it is ranked by: the least sure is least."""
    flips, sure = int(row.get("flips") or 0), number(row.get("confidence"))
    if not math.isnan(sure):
        label = str(row["label"])
        cells = [ReportCell(label, label), ReportCell(f"{100 * sure:.0f}", sure)]
        return {"id": str(row["id"]), "doubt": sure, "flips": flips, "label": label, "cells": cells}
    spreads = [number(row.get(f"{name}_spread")) for name in AFFECT]
    spread = max((s for s in spreads if not math.isnan(s)), default=0.0)
    values = [number(row.get(name)) for name in AFFECT]
    cells = [ReportCell("-", "") if math.isnan(v) else ReportCell(f"{v:+.2f}", v) for v in values]
    cells.append(ReportCell(f"{spread:.2f}", spread))
    return {"id": str(row["id"]), "doubt": -spread, "flips": flips, "cells": cells}
