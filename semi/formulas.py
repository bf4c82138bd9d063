"""Cells that a spreadsheet would run as a formula: written as text, read back unchanged.

An utterance called '=cmd|...' or a label '@joy' is somebody's text. In CSV such a cell begins with
an apostrophe, which spreadsheets take for "this is text"; plain numbers such as -1 stay.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

STARTS = re.compile(r"'*[=+\-@\t\r]")
GUARDED = re.compile(r"'+[=+\-@\t\r]")


def guarded(cell: Any) -> Any:
    """Returns the cell as it is written: text that begins like a formula behind an apostrophe."""
    if not isinstance(cell, str) or not STARTS.match(cell) or _is_number(cell):
        return cell
    return "'" + cell


def unguarded(cell: Any) -> Any:
    """Returns the cell that `guarded` was given."""
    return cell[1:] if isinstance(cell, str) and GUARDED.match(cell) else cell


def guarded_table(table: pd.DataFrame) -> pd.DataFrame:
    """Returns a table whose texts and headers are guarded; the given one stays as it is."""
    import pandas as pd

    out = table.copy(deep=False)
    for name in table.columns:
        if not pd.api.types.is_numeric_dtype(table[name]) and any(
            isinstance(cell, str) and STARTS.match(cell) for cell in _different(table[name])
        ):
            cells = table[name].tolist()
            out[name] = pd.Series([guarded(cell) for cell in cells], table.index, dtype=object)
    return out.rename(columns=guarded)


def _different(column: Any) -> list[Any]:
    """Returns the cells of a column, each once where they can be told apart: labels repeat."""
    try:
        return column.unique().tolist()
    except TypeError:  # lists, dicts: they have no hash
        return column.tolist()


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
