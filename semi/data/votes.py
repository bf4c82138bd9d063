"""Rater votes of a manifest's rows: a column `votes`, or one of counts for each class."""

from __future__ import annotations

import ast
import json
import math
import re
from typing import TYPE_CHECKING, Any

from .checks import Problem
from .json_text import loads
from .missing import MISSING

if TYPE_CHECKING:
    import pandas as pd

WRITTEN = 'write {"happy": 3, "sad": 1} or happy;happy;sad, with counts of 0 or more'
COUNTED = re.compile(r"(.+?)\s*[:=]\s*(\d+(?:\.\d+)?)")  # happy:3


def read_votes(
    raw: pd.DataFrame, columns: list[str], rows: pd.Series, file: str
) -> tuple[list[dict[str, float] | None], list[Problem]]:
    """Returns the votes {class: count} of each row, None where it has none, and what is no vote.

    Args:
        raw: the table, perhaps with a column `votes`.
        columns: further columns `votes_<class>` of counts.
        rows: number of each row.
        file: name of the table.
    """
    votes: list[dict[str, float] | None] = [None] * len(raw)
    problems: list[Problem] = []
    cells = raw["votes"].tolist() if "votes" in raw else [None] * len(raw)
    for i, cell in enumerate(cells):
        if cell is None or (isinstance(cell, str) and cell.strip() in MISSING):
            continue
        votes[i] = parse_votes(cell)
        if votes[i] is None:
            row = int(rows.iloc[i])
            problems.append(
                Problem(file, row, "votes", str(cell), "not readable as votes", WRITTEN)
            )
    for column in columns:
        name = column[len("votes_") :]
        for i, cell in enumerate(raw[column].tolist()):
            if cell is None or str(cell).strip() in MISSING:
                continue
            count = _count(cell)
            if count is None:
                row = int(rows.iloc[i])
                remedy = "write a count of 0 or more, or leave the cell empty"
                reason = "not a number of votes"
                problems.append(Problem(file, row, column, str(cell), reason, remedy))
            elif count > 0:
                shares = votes[i] or {}
                shares[name] = shares.get(name, 0.0) + count
                votes[i] = shares
    return votes, problems


def parse_votes(cell: object) -> dict[str, float] | None:
    """Returns {class: count} of an object, a list, names joined by ; | or a comma, else None."""
    if isinstance(cell, str):
        cell = literal(cell) if cell.strip().startswith(("{", "[")) else _named(cell)
    if isinstance(cell, list):
        out: dict[str, float] = {}
        for name in cell:
            out[str(name)] = out.get(str(name), 0.0) + 1.0
        return out or None
    if not isinstance(cell, dict):
        return None
    counts = {str(k).strip(): _count(v) for k, v in cell.items() if v is not None}
    if any(v is None for v in counts.values()):
        return None
    return {k: v for k, v in counts.items() if v}


def literal(text: str) -> Any:
    """Returns the list or object that a cell holds, as JSON or as Python prints it, else None."""
    try:
        return loads(text)
    except (json.JSONDecodeError, RecursionError):
        pass
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _named(text: str) -> list[str] | dict[str, str]:
    """Returns the names in a cell such as 'joy;joy;calm', or {name: count} of 'joy:2;calm:1'."""
    parts = [part.strip() for part in re.split(r"[;|,]", text) if part.strip()]
    counted = [COUNTED.fullmatch(part) for part in parts]
    found = {match[1]: match[2] for match in counted if match}
    return found if len(found) == len(parts) else parts


def _count(value: Any) -> float | None:
    try:
        count = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return count if math.isfinite(count) and count >= 0 else None
