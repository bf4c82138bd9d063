"""A .json file whose top is one object: rows by id, {"data": [...]}, or columns as pandas writes.

pandas.DataFrame.to_json writes orient columns, index, split and table; Hugging Face's viewer and
many APIs write the rows as a list under one key.
"""

from __future__ import annotations

import json
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from ...errors import ManifestError
from ..checks import split_named
from ..encodings import decode
from ..json_text import loads
from ..tables import Fault, Table, once
from ..wording import counted, shown
from .cells import damaged, head, is_sound, some, to_table

ROW_KEYS = ("data", "rows", "records", "items", "utterances", "utts", "samples")


def recognises(path: Path) -> bool:
    """Says whether the file is one object and not one object a line."""
    return path.is_file() and path.suffix.lower() == ".json" and _top(path) is not None


def objects_by_id(path: Path) -> dict[str, dict] | None:
    """Returns {id: row} of a file whose top is an object of objects, else None."""
    if path.suffix.lower() != ".json":
        return None
    top = _top(path)
    if not top or not all(isinstance(value, dict) for value in top.values()) or _columns(top):
        return None
    return top


def read(path: Path, root: Path) -> Table:
    """Returns the rows, or raises ManifestError that says what was found instead."""
    top = _top(path) or {}
    by_id = objects_by_id(path)
    how = ""
    if by_id:
        listed: list[Any] = [{"id": name, **row} for name, row in by_id.items()]
        how = f"an object of {counted(len(by_id), 'row')} by id"
    elif isinstance(top.get("columns"), list) and isinstance(top.get("data"), list):
        listed = [dict(zip(map(str, top["columns"]), row, strict=False)) for row in top["data"]]
        how = f"columns and {counted(len(listed), 'row')} of cells (pandas, orient=split)"
    elif _columns(top):
        names = list(next(iter(top.values())))
        listed = [{column: cells[name] for column, cells in top.items()} for name in names]
        how = f"an object of {counted(len(top), 'column')} (pandas, orient=columns)"
    elif top and all(isinstance(v, list) for v in top.values()) and _even(top):
        listed = [dict(zip(top, row, strict=True)) for row in zip(*top.values(), strict=True)]
        how = f"an object of {counted(len(top), 'column')}, lists of {counted(len(listed), 'cell')}"
    elif top and all(split_named(name) and _is_rows(rows) for name, rows in top.items()):
        sides = {name: split_named(name) for name in top}
        listed = [{"split": sides[name], **row} for name, rows in top.items() for row in rows]
        how = f"lists of rows under {some(top, 4)}, which are their splits"
    elif top and all(is_sound(n) and isinstance(v, (str, int)) for n, v in top.items()):
        listed = [{"audio": name, "label": label} for name, label in top.items()]
        how = f"an object of {counted(len(top), 'sound')} and their labels"
    else:
        keys = [
            k for k, v in top.items() if isinstance(v, list) and any(isinstance(r, dict) for r in v)
        ]
        key = next((name for name in ROW_KEYS if name in keys), keys[0] if len(keys) == 1 else None)
        if key is None:
            raise ManifestError(_unknown(path, top))
        listed, left = top[key], [name for name in top if name != key]
        how = f"the list under '{shown(key)}'" + (f"; left out: {some(left, 5)}" if left else "")
    if all(isinstance(row, dict) and isinstance(row.get("row"), dict) for row in listed):
        listed = [row["row"] for row in listed]  # as Hugging Face's viewer answers
    faults: list[Fault] = [
        (number, "", str(row)[:60], "not a JSON object", 'write {"id": "a", "text": "..."}')
        for number, row in enumerate(listed, 1)
        if not isinstance(row, dict)
    ]
    rows = [number for number, row in enumerate(listed, 1) if isinstance(row, dict)]
    records = [row for row in listed if isinstance(row, dict)]
    return to_table(records, rows, [f"{path.name} was read as JSON: {how}"], faults)


def _once(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns an object, or raises ManifestError where a key stands twice and a row would go."""
    try:
        return once(pairs)
    except KeyError as error:
        raise ManifestError(
            f"{path}: '{error.args[0][:80]}' stands twice in one object, so one of the two would "
            "be lost; make every id unique"
        ) from None


def _is_rows(value: Any) -> bool:
    """Says whether a value is a list of objects."""
    return isinstance(value, list) and all(isinstance(row, dict) for row in value)


def _columns(top: dict) -> bool:
    """Says whether an object of objects holds columns, as pandas writes them, not rows by id."""
    inner = [value for value in top.values() if isinstance(value, dict)]
    if not inner or len(inner) < len(top):
        return False
    keys = list(inner[0])
    return (
        bool(keys) and all(str(k).isdigit() for k in keys) and all(list(v) == keys for v in inner)
    )


def _even(top: dict[str, list]) -> bool:
    flat = all(not isinstance(cell, (dict, list)) for cells in top.values() for cell in cells)
    return flat and len({len(cells) for cells in top.values()}) == 1


def _top(path: Path) -> dict | None:
    """Returns the object that the whole file is, None where each line is an object of its own."""
    start = head(path).lstrip()
    if not start.startswith("{"):
        return None
    status = path.stat()
    return _parsed(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=1)  # recognised and read, the file is parsed once
def _parsed(path: Path, time: int, size: int) -> dict | None:
    content = decode(path.read_bytes(), path)[0].lstrip("\ufeff").strip()
    try:
        top = loads(content, object_pairs_hook=partial(_once, path))
    except RecursionError:
        raise damaged(path, "JSON file", "nested too deeply") from None
    except json.JSONDecodeError as error:
        first = content.split("\n", 1)[0].strip()
        if first != "{":
            return None  # JSON lines; a damaged one is listed as such
        raise damaged(path, "JSON file", error) from None
    if top and "\n" not in content and not any(isinstance(v, (dict, list)) for v in top.values()):
        if all(is_sound(name) for name in top):
            return top
        return None  # JSON lines with one row
    return top


def _unknown(path: Path, top: dict) -> str:
    kinds = [f"'{str(k)[:40]}' ({type(v).__name__})" for k, v in top.items()]
    return (
        f"{path}: a JSON object with {some(kinds, 6) or 'nothing'}, in which no rows are found"
        '; write rows as a list [{"id": "a", "text": "..."}], by id {"a": {"text": "..."}}, or one '
        "object a line (.jsonl)"
    )
