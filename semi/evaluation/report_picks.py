"""The report's table of what the shipped round learned from: the doubtful pseudo-labels of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import reading
from ..files import ANEW
from .ledger_file import LEDGER_TABLE, ledger_of
from .multitask import AFFECT
from .report_rows import ReportCell, ReportRow, RowTable, number
from .report_sounds import Utterances

SPREADS = tuple(f"{name}_spread" for name in AFFECT)
PICK_COLUMNS = ("id", "label", "confidence", "flips", *AFFECT, *SPREADS)
PICKS_LISTED, PICKS_HEARD = 24, 20  # half of them the least sure, half those that changed most


def picks(run: Path, round_number: int, utterances: Utterances) -> RowTable:
    """Returns the least sure pseudo-labels of a round, and those whose label changed most.

    Args:
        run: the run's folder.
        round_number: the round that ships; 0 learned from gold alone.
        utterances: sounds and texts. A label that was hidden from the run is not shown beside what
            it learned: whoever reviews these rows next is to judge by ear.
    """
    table = RowTable("picks", [])
    if not round_number or not (run / LEDGER_TABLE).is_file():
        return table
    ledger = ledger_of(run, ("id", "chosen"), PICK_COLUMNS, round_number)
    with reading(run / LEDGER_TABLE, "a ledger", ANEW):
        own: Any = ledger[ledger["chosen"].astype(bool)]
        rows = [_pick(row) for row in own.iloc[_worst(own)].to_dict("records")]
    doubtful = sorted(rows, key=lambda r: (r["doubt"], r["id"]))
    flipped = sorted((r for r in rows if r["flips"]), key=lambda r: (-r["flips"], r["id"]))
    half = PICKS_LISTED // 2
    listed = {r["id"]: r for r in [*doubtful[:half], *flipped[:half]]}
    for row in doubtful[half:]:
        if len(listed) < PICKS_LISTED:
            listed.setdefault(row["id"], row)
    utterances.look_up(listed)
    by_class = not listed or "label" in next(iter(listed.values()))
    table.more = len(own) - len(listed)
    table.columns = _columns(by_class)
    for name, row in listed.items():
        cells = [*row["cells"], ReportCell(str(row["flips"]), row["flips"])]
        table.rows.append(ReportRow(name, cells))
    return table.fill(utterances, PICKS_HEARD)


def _worst(own: Any) -> np.ndarray:
    """Returns the places of the rows that can be listed, least sure or most often changed ones.

    Few rows, whatever the pool has: each is made a line of the page one by one.
    """
    numbers = {n: _numbers(own[n]) for n in ("confidence", "flips", *SPREADS) if n in own}
    none = np.full(len(own), math.nan)
    spreads = [np.nan_to_num(numbers[n]) for n in SPREADS if n in numbers]
    doubt = -np.max([np.zeros(len(own)), *spreads], 0)
    sure = numbers.get("confidence", none)
    doubt = np.where(np.isnan(sure), doubt, sure)
    flips = np.nan_to_num(numbers.get("flips", none))
    changed = np.flatnonzero(flips > 0)
    ids = own["id"].to_numpy(dtype=object)
    found = [_first(doubt, ids), changed[_first(-flips[changed], ids[changed])]]
    return np.unique(np.concatenate(found))


def _first(values: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Returns the places of the PICKS_LISTED smallest values (N,), of equals by their ids."""
    most = min(PICKS_LISTED, len(values))
    if not most:
        return np.zeros(0, np.int64)
    among = np.flatnonzero(values <= np.partition(values, most - 1)[most - 1])
    return among[np.lexsort((ids[among].astype(str), values[among]))[:most]]


def _numbers(column: Any) -> np.ndarray:
    import pandas as pd

    return np.asarray(pd.to_numeric(column, errors="coerce"), dtype=float)


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
