"""Reads a table file of any supported kind into columns of text, each row with its number."""

# pandas 3 types a column as 'Series or DataFrame or scalar', so these checks only see noise here.
# pyright: reportArgumentType=false

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass, field
from itertools import chain, compress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ManifestError
from ..formulas import unguarded
from .delimited import Fault, delimiter_of, read_records, split_lines, squared
from .encodings import GUESSED, decode
from .file_kinds import SAVE_AS, refuse_other_kinds, refuse_packed
from .header_rows import refuse_other_delimiter, refuse_rows_above, repeated
from .headers import known_columns
from .json_text import loads
from .wording import counted

if TYPE_CHECKING:
    import pandas as pd

DELIMITED = (".csv", ".tsv", ".txt")
PARQUET = (".parquet", ".pq")
DELIMITER_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
JSON_LINES = (".jsonl", ".ndjson", ".json")


@dataclass
class Table:
    """A file as it stands: all cells text or None, plus where each row came from."""

    frame: pd.DataFrame  # (N, columns) object; text, None, or what JSON/Parquet held (dict, list)
    rows: list[int]  # (N,) row as a spreadsheet counts (header is 1) or line of a JSONL file
    notes: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    decimal_comma: bool = False
    refused: int = 0  # rows of the file that are not in `frame`, each named by a fault
    kind: str = ""  # how the file was read, such as "comma, utf-8"


def read_table(path: Path, data: bytes) -> Table:
    """Returns the table in `data`, the bytes of `path`; the kind follows from the suffix."""
    suffix = path.suffix.lower()
    refuse_packed(path)
    if suffix not in DELIMITED + PARQUET + JSON_LINES:
        known = ", ".join(DELIMITED + PARQUET + JSON_LINES)
        sheet = suffix in (".xlsx", ".xls", ".ods")
        hint = "export the sheet as CSV (UTF-8)" if sheet else SAVE_AS
        raise ManifestError(f"{path.name}: cannot read '{suffix}' tables, only {known}; {hint}")
    if not data.strip(b"\x00\xef\xbb\xbf\xff\xfe \r\n\t"):
        raise ManifestError(f"{path.name}: the file is empty; it needs a header and rows")
    if suffix not in PARQUET or not data.startswith(b"PAR1"):
        refuse_other_kinds(path, data)
    if suffix in PARQUET:
        return _read_parquet(data, path.name)
    text, encoding = decode(data, path)
    table = _read_json(text, path) if suffix in JSON_LINES else _read_delimited(text, path)
    table.kind = ", ".join(filter(None, [table.kind, encoding]))
    if encoding in GUESSED:
        table.notes.append(
            f"{path.name} was read as {GUESSED[encoding]}; save it as UTF-8 if letters look wrong"
        )
    return table


def _read_delimited(text: str, path: Path) -> Table:
    import pandas as pd

    lines = split_lines(text.lstrip("\ufeff").rstrip("\x1a"))  # by which DOS ended a file
    start = next(i for i, line in enumerate(lines) if line.strip())
    stated = re.fullmatch(r'"?sep=([,;\t|])"?[,;\t|]*', lines[start])
    if stated and len(lines) > start + 1:  # Excel's own way to name the delimiter, not a header
        start += 1
    delimiter = stated[1] if stated else delimiter_of(lines[start])
    if not lines[start].strip(f"{delimiter} \t\"'"):
        raise ManifestError(
            f"{path.name} row {start + 1}: the header names no column; write id, text or audio, "
            "and what else there is, above the rows"
        )
    records = read_records(lines[start:], delimiter, start + 1)
    refuse_rows_above(records, path.name)
    refuse_other_delimiter(records, delimiter, path.name)
    records = squared(records, delimiter)
    header, *cells = records.cells
    names, faults = _names([unguarded(name) for name in header], start + 1)
    filled = [bool(record[0].strip() or "".join(record).strip()) for record in cells]
    flat = list(chain.from_iterable(compress(cells, filled)))
    if "'" in text:  # what was written as text lest a spreadsheet run it
        flat = [unguarded(cell) for cell in flat]
    columns = {name: flat[i :: len(names)] for i, name in enumerate(names)}
    for name in [name for name in names if name.startswith("Unnamed: ")]:
        if not any(cell.strip() for cell in columns[name]):
            del columns[name]  # a delimiter at the end of each line
    rows = list(compress(records.rows[1:], filled))
    notes = []
    if records.short:
        notes.append(
            f"fewer cells than the header in {counted(len(records.short), 'row')} (first: row "
            f"{records.short[0]}); what is lacking is empty"
        )
    return Table(
        pd.DataFrame(columns, dtype=object),
        rows,
        notes,
        faults + repeated(records) + records.faults,
        decimal_comma=delimiter == ";",
        refused=records.refused,
        kind=DELIMITER_NAMES[delimiter],
    )


def _names(header: list[str], row: int) -> tuple[list[str], list[Fault]]:
    """Returns a name of its own for each column, and a fault for each name that appears twice."""
    names: list[str] = []
    faults: list[Fault] = []
    for i, name in enumerate(header):
        if not name.strip():
            name = f"Unnamed: {i}"
        if name in names:
            if not any(fault[1] == name for fault in faults):
                faults.append((row, name, name, "the column appears twice",
                               "remove or rename one of the two"))  # fmt: skip
            name = f"{name}.{i}"
        names.append(name)
    return names, faults


def _read_parquet(data: bytes, name: str) -> Table:
    import pandas as pd

    try:
        frame = pd.read_parquet(io.BytesIO(data))
    except Exception as error:  # pyarrow raises several kinds for a broken file
        detail = " ".join(str(error).split())[:160]
        raise ManifestError(
            f"{name}: not a readable Parquet file ({detail}); export it once more"
        ) from None
    if any(name is not None for name in frame.index.names):  # ids kept as the index
        frame = frame.reset_index()
    elif not known_columns(frame.columns.map(str).tolist(), "id") and all(
        isinstance(name, str) for name in frame.index
    ):
        frame.insert(0, "id", frame.index)
    text = _as_text(frame.reset_index(drop=True))
    return Table(text, list(range(2, len(frame) + 2)), kind="Parquet")


def _read_json(text: str, path: Path) -> Table:
    import pandas as pd

    faults: list[Fault] = []
    records: list[dict] = []
    rows: list[int] = []
    remedy = 'each line must be one object such as {"id": "a", "text": "..."}'
    text = text.lstrip("\ufeff")
    if text.lstrip().startswith("["):
        try:
            listed = loads(text, object_pairs_hook=once)
        except json.JSONDecodeError as error:
            raise ManifestError(f"{path.name} line {error.lineno}: not JSON: {error.msg}") from None
        except RecursionError:
            raise ManifestError(f"{path.name}: JSON nested too deeply for a table") from None
        except KeyError as error:
            raise ManifestError(
                f"{path.name}: '{error.args[0][:80]}' stands twice in one object, so one of the "
                "two would be lost; keep the one that is right"
            ) from None
        numbered = list(enumerate(listed, 1))
    else:
        numbered = []
        for number, line in enumerate(split_lines(text), 1):
            if not line.strip():
                continue
            try:
                numbered.append((number, loads(line, object_pairs_hook=once)))
            except (json.JSONDecodeError, RecursionError, KeyError) as error:
                detail = getattr(error, "msg", "nested too deeply")
                if isinstance(error, KeyError):
                    reason = f"'{error.args[0][:80]}' stands twice in the object"
                    faults.append((number, "", line[:60], reason, "keep the one that is right"))
                    continue
                faults.append((number, "", line[:60], f"not JSON ({detail})", remedy))
    for number, record in numbered:
        if isinstance(record, dict):
            records.append(record)
            rows.append(number)
        else:
            faults.append((number, "", str(record)[:60], "not a JSON object", remedy))
    frame = _as_text(pd.DataFrame(records, dtype=object))
    return Table(frame, rows, faults=faults, refused=len(faults), kind="JSON")


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns an object, or raises KeyError of a key that stands twice in it."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise KeyError(next(k for k in found if sum(k == other for other, _ in pairs) > 1))
    return found


def _as_text(frame: pd.DataFrame) -> pd.DataFrame:
    """Numbers become text as a person would write them (3.0 is '3'); dicts and lists stay."""
    import pandas as pd

    def cell(value: Any) -> object:
        if isinstance(value, (str, dict, list)) or value is None:
            return value
        if hasattr(value, "tolist"):  # numpy scalar or array
            value = value.tolist()
            if isinstance(value, list):
                return value
        if value is None or value is pd.NA or value is pd.NaT or value != value:
            return None
        if isinstance(value, float) and value.is_integer():
            return str(int(value))
        return str(value)

    out = {str(name): [cell(v) for v in frame[name].tolist()] for name in frame.columns}
    return pd.DataFrame(out, dtype=object, columns=[str(c) for c in frame.columns])
