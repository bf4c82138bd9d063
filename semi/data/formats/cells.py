"""What the formats share: Tables made of records, text cells, distinct ids, heads of files."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import ManifestError
from .. import headers
from ..missing import MISSING
from ..tables import Fault, Table, read_table
from ..times import seconds_of
from ..wording import shown

SOUNDS = headers.SOUND_SUFFIXES
INPUT_TABLES = headers.TABLE_SUFFIXES
HEAD_BYTES = 1 << 16  # bytes that are looked at before a file is read


def plain_table(path: Path) -> Table:
    """Returns a CSV, TSV, Parquet or JSONL file as it stands."""
    return read_table(path, path.read_bytes())


def head(path: Path) -> str:
    """Returns the beginning of a text file, without what cannot be decoded."""
    with open(path, "rb") as file:
        data = file.read(HEAD_BYTES)
    utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    return data.decode("utf-16" if utf16 else "utf-8-sig", errors="ignore").lstrip("\ufeff")


def header(path: Path) -> list[str]:
    """Returns the names in the first line of a delimited file."""
    first = next((line for line in head(path).splitlines() if line.strip()), "")
    delimiter = "\t" if "\t" in first else ";" if first.count(";") > first.count(",") else ","
    return [name.strip().strip('"') for name in first.split(delimiter)]


def to_table(
    records: Sequence[Mapping[str, Any]],
    rows: Sequence[int],
    notes: Iterable[str] = (),
    faults: Iterable[Fault] = (),
) -> Table:
    """Returns the records as a Table: a column for every key, in the order in which they appear."""
    import pandas as pd

    names = list(dict.fromkeys(name for record in records for name in record)) or ["id"]
    columns = {name: [text(record.get(name)) for record in records] for name in names}
    frame = pd.DataFrame(columns, dtype=object, columns=names, index=range(len(records)))
    return Table(frame, list(rows), notes=list(notes), faults=list(faults))


def text(value: Any) -> Any:
    """Returns a cell as a person would write it: 3.0 is '3', NaN is None; dicts and lists stay."""
    if value is None or isinstance(value, (str, dict, list)):
        return value
    if value != value:  # NaN, NaT
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def seconds(cell: Any) -> Any:
    """Returns a duration such as '0 days 00:00:01.5' in seconds, None for NaT, else the cell."""
    if not isinstance(cell, str):
        return cell
    found = seconds_of(cell.strip())
    return None if cell.strip() in MISSING else cell if found is None else text(found)


def put(table: Table, column: str, cells: Sequence[Any]) -> None:
    """Sets a column as it is; pandas would make a column of texts out of some texts and None."""
    import pandas as pd

    table.frame[column] = pd.Series(list(cells), index=table.frame.index, dtype=object)


def rename(table: Table, names: Mapping[str, str]) -> list[str]:
    """Gives columns the names that a manifest knows, unless it has them; returns what was done."""
    there = {str(name).lower() for name in table.frame.columns}
    done = {old: new for old, new in names.items() if old in table.frame and new not in there}
    table.frame = table.frame.rename(columns=done)
    return [f"{old} as {new}" for old, new in done.items()]


def distinct(names: Sequence[str], fuller: Sequence[str]) -> list[str]:
    """Returns (N,) ids: the names, and the fuller names where a name occurs twice."""
    counts = Counter(names)
    return [name if counts[name] == 1 else more for name, more in zip(names, fuller, strict=True)]


def nfc(name: str) -> str:
    """Returns the name composed as most systems write it; macOS takes its letters apart."""
    return unicodedata.normalize("NFC", name)


def is_sound(name: str | Path) -> bool:
    """Says whether a file's name ends as those of sounds do."""
    return os.path.splitext(str(name))[1].lower() in SOUNDS


def walk(folder: Path) -> Iterator[Path]:
    """Yields all files beneath `folder`, by name; hidden ones and __MACOSX are passed over."""
    seen = set()
    for where, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(where)
        if real in seen:  # a link to a folder above itself
            folders[:] = []
            continue
        seen.add(real)
        folders[:] = sorted(f for f in folders if f[0] != "." and f.lower() != "__macosx")
        yield from (Path(where, name) for name in sorted(names) if name[0] != ".")


def some(names: Iterable[Any], count: int = 3) -> str:
    """Returns the first names, and how many more there are."""
    names = [shown(name) for name in names]
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more


def damaged(path: Path, kind: str, error: object) -> ManifestError:
    """Returns the error of a file that begins like its kind and cannot be read to the end."""
    detail = " ".join(str(error).split())[:160].rstrip(".")
    return ManifestError(f"{path}: not a readable {kind} ({detail}); export it once more")
