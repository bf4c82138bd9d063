"""Excel workbooks (.xlsx), through pandas and openpyxl (the extra `xlsx`)."""

from __future__ import annotations

import datetime
from collections import Counter
from pathlib import Path
from typing import Any

from ...errors import ManifestError, how_to_install
from ..delimited import Records
from ..header_rows import refuse_rows_above, repeated
from ..headers import known_columns
from ..tables import Fault, Table
from ..wording import counted
from .cells import damaged, text
from .workbook_limits import refuse_bombs

TIMES = ("start", "end", "seconds", "duration", "offset")
WORKBOOK_SUFFIXES = (".xlsx", ".xlsm")


def recognises(path: Path) -> bool:
    """Says whether the file's name ends as workbooks do."""
    return path.is_file() and path.suffix.lower() in WORKBOOK_SUFFIXES


def read(path: Path, root: Path) -> Table:
    """Returns the first sheet that holds rows; its first row with cells is the header."""
    sheets = {name: cells for name, cells in _sheets(path).items() if len(cells) > 1}
    if not sheets:
        raise ManifestError(f"{path.name}: no sheet holds a header and a row beneath it")
    name = next((n for n, cells in sheets.items() if _names_columns(cells)), next(iter(sheets)))
    lines = sheets[name]
    notes = [f"read as an Excel workbook: sheet '{name}', {counted(len(lines) - 1, 'row')}"]
    if len(sheets) > 1:
        others = ", ".join(f"'{other}'" for other in [n for n in sheets if n != name][:5])
        notes.append(
            f"{counted(len(sheets), 'sheet', 'holds', 'hold')} rows; not read: {others}; move the "
            "one that is meant first"
        )
    notes += _fill_merged(path, name, lines)
    records = Records([tuple(_written(c) for c in row) for _, row in lines], [n for n, _ in lines])
    refuse_rows_above(records, path.name)
    table = _table(lines, notes)
    table.faults += [*repeated(records), *_formulas(path, name, lines)]
    return table


def _written(cell: Any) -> str:
    return str(_cell(cell, "") or "").strip()


def _names_columns(lines: list[tuple[int, list[Any]]]) -> bool:
    """Says whether one of the first lines of a sheet names columns of a manifest."""
    return any(len(known_columns([_written(c) for c in row])) > 1 for _, row in lines[:30])


def _fill_merged(path: Path, sheet: str, lines: list[tuple[int, list[Any]]]) -> list[str]:
    """Gives each row of a merged cell its value, in place; returns the sentence on it."""
    import openpyxl  # pyright: ignore[reportMissingModuleSource]

    book = openpyxl.load_workbook(path)
    rows, filled = dict(lines), 0
    for area in book[sheet].merged_cells.ranges:
        value = rows.get(area.min_row, [])[area.min_col - 1 : area.min_col]
        for number in range(area.min_row + 1, area.max_row + 1):
            if value and number in rows and area.min_col <= len(rows[number]):
                rows[number][area.min_col - 1] = value[0]
                filled += 1
    book.close()
    return [f"merged cells: {counted(filled, 'row')} have the value above them"] * bool(filled)


def _sheets(path: Path) -> dict[str, list[tuple[int, list[Any]]]]:
    """Returns {sheet: [(row number, cells)]} without the rows that are empty."""
    import pandas as pd

    try:
        import openpyxl  # noqa: F401  # pyright: ignore[reportMissingModuleSource]
    except ImportError:
        raise ManifestError(
            f"{path.name}: Excel workbooks need openpyxl; {how_to_install('xlsx')}, or save the "
            "sheet as CSV (UTF-8)"
        ) from None
    refuse_bombs(path)
    try:
        frames = pd.read_excel(
            path, sheet_name=None, header=None, dtype=object, na_filter=False, engine="openpyxl"
        )
    except OSError:
        raise
    except Exception as error:  # zipfile, XML and openpyxl each raise their own kinds
        raise damaged(path, "Excel workbook", error) from None
    out = {}
    for name, frame in frames.items():
        lines = [(i, row) for i, row in enumerate(frame.to_numpy(dtype=object).tolist(), 1)]
        out[str(name)] = [(i, row) for i, row in lines if any(_is_filled(cell) for cell in row)]
    return out


def _is_filled(cell: Any) -> bool:
    return bool(str(_cell(cell, "") or "").strip())


def _formulas(path: Path, sheet: str, lines: list[tuple[int, list[Any]]]) -> list[Fault]:
    """Returns a fault for every formula whose value was never stored: it would read as empty."""
    import openpyxl  # pyright: ignore[reportMissingModuleSource]

    remedy = "open the workbook in Excel or LibreOffice and save it, so that values are stored"
    values, names = dict(lines), lines[0][1]
    book = openpyxl.load_workbook(path, read_only=True)
    try:
        return [
            (number, str(names[at]), str(cell.value), "a formula without its value", remedy)
            for number, row in enumerate(book[sheet].iter_rows(), 1)
            for at, cell in enumerate(row)
            if cell.data_type == "f"
            and at < len(values.get(number, []))
            and not _is_filled(values[number][at])
        ]
    finally:
        book.close()


def _table(lines: list[tuple[int, list[Any]]], notes: list[str]) -> Table:
    import pandas as pd

    first, names = lines[0][0], [str(_cell(c, "") or "").strip() for c in lines[0][1]]
    faults: list[Fault] = [
        (first, name, name, "the column appears twice", "remove or rename one of the two")
        for name, count in Counter(names).items()
        if name and count > 1
    ]
    columns: dict[str, list[Any]] = {}
    for at, name in enumerate(names):
        cells = [_cell(row[at], name) for _, row in lines[1:]]
        if not name and not any(cells):
            continue
        key = name or f"Unnamed: {at}"
        columns[key if key not in columns else f"{key}.{at}"] = cells
    rows = [number for number, _ in lines[1:]]
    return Table(pd.DataFrame(columns, dtype=object), rows, notes=notes, faults=faults)


def _cell(value: Any, column: str) -> Any:
    """Returns a cell as text: dates as 2024-01-31, times of a sound in seconds, 3.0 as 3."""
    if isinstance(value, str):
        return value or None
    if value is None or value != value:
        return None
    if isinstance(value, datetime.time) and column.strip().lower() in TIMES:
        value = datetime.timedelta(
            hours=value.hour,
            minutes=value.minute,
            seconds=value.second,
            microseconds=value.microsecond,
        )
    if isinstance(value, datetime.timedelta):
        return text(value.total_seconds())
    if isinstance(value, datetime.datetime):
        day = value.time() == datetime.time()
        return value.date().isoformat() if day else value.isoformat(" ")
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    return text(value)
