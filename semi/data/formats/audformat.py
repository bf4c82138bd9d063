"""audformat and audb: tables with the index file, or file, start, end; db.yaml is their header.

https://audeering.github.io/audformat/data-introduction.html: times are pandas durations, schemes of
the header may name their labels. Pickled tables are never opened.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...errors import ManifestError
from ...yaml_limits import plain_yaml
from ..tables import Table
from ..wording import counted, shown
from .cells import (
    damaged,
    distinct,
    header,
    is_sound,
    plain_table,
    put,
    rename,
    seconds,
    some,
    to_table,
)

INDEX = ["file", "start", "end"]
COLUMN_NAMES = {"transcription": "text", "duration": "seconds"}
LABEL_NAMES = ("emotion", "label", "emotions", "category", "sentiment")
VALUES_OF_HEADER = 1_000_000  # in a db.yaml; the largest published have some thousands


def recognises(path: Path) -> bool:
    """Says whether `path` is a database's folder, or a table whose index is audformat's own."""
    if path.is_dir():
        return bool((path / "db.yaml").is_file() and _tables(path))
    if path.suffix.lower() in (".csv", ".tsv"):
        names = header(path)
    elif path.suffix.lower() == ".parquet":
        names = _parquet_names(path)
    else:
        return False
    return set(INDEX) <= set(names) or (path.name.startswith("db.") and names[:1] == ["file"])


def read(path: Path, root: Path) -> Table:
    """Returns a table's rows, times in seconds; of a folder the table of emotions with the others.

    Raises ManifestError where several tables of a database could be meant.
    """
    if path.is_file():
        table = _read_one(path, _schemes(path.parent, path.stem.removeprefix("db.")))
        table.notes.insert(0, f"read as an audformat table: {counted(len(table.rows), 'row')}")
        return _with_ids(table)
    tables = _tables(path)
    known = {name: _read_one(file, _schemes(path, name)) for name, file in tables.items()}
    main = {name: t for name, t in known.items() if any(c in t.frame for c in LABEL_NAMES)}
    if not main:
        pickled = [f.name for f in sorted(path.glob("db.*.pkl")) if f.stem[3:] not in tables]
        hint = f"; pickles are never opened: save {some(pickled)} as CSV or Parquet"
        raise ManifestError(
            f"{path}: no table of this audformat database has a column "
            f"{', '.join(LABEL_NAMES[:3])} (tables: {some(known, 8)}); give the table itself, such "
            f"as data.manifest='{path / 'db.NAME.csv'}'" + hint * bool(pickled)
        )
    splits = _splits(path, list(main))
    chosen = _chosen(path, main, splits)
    table = _stacked(chosen, main, splits)
    for name, other in known.items():
        if name not in main:
            table.notes += _joined(table, other, name)
    left = [name for name in main if name not in chosen]
    tail = f"; not read: {', '.join(left)}" if left else ""
    table.notes.insert(0, f"read as an audformat database: table {', '.join(chosen)}{tail}")
    return _with_ids(table)


def _tables(folder: Path) -> dict[str, Path]:
    """Returns {table: its CSV or Parquet}; pickled ones are passed over."""
    found: dict[str, Path] = {}
    for file in sorted(folder.glob("db.*")):
        if file.suffix in (".csv", ".parquet"):
            found.setdefault(file.stem.removeprefix("db."), file)
    return found


def _parquet_names(path: Path) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return list(pq.read_schema(path).names)
    except (pa.ArrowException, OSError):
        return []  # read as any Parquet file, and refused there


def _rows(path: Path) -> Table:
    """Returns a table's file as it stands; pandas keeps an index of Parquet as plain columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.suffix.lower() != ".parquet":
        return plain_table(path)
    try:
        records = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise damaged(path, "Parquet file", error) from None
    return to_table(records, range(2, len(records) + 2))


def _header(folder: Path) -> dict[str, Any]:
    import yaml

    file = folder / "db.yaml"
    if not file.is_file():
        return {}
    try:
        content = plain_yaml(file.read_text(encoding="utf-8-sig"), VALUES_OF_HEADER)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        detail = " ".join(str(error).split())[:120]
        raise ManifestError(f"{file}: not readable YAML ({detail}); export it once more") from None
    return content if isinstance(content, dict) else {}


def _at(content: Any, *keys: Any) -> dict:
    """Returns the mapping at these keys of a header, {} where there is none."""
    for key in keys:
        known = isinstance(content, dict) and isinstance(key, (str, int, float))
        content = content.get(key) if known else None
    return content if isinstance(content, dict) else {}


def _schemes(folder: Path, table: str) -> dict[str, dict]:
    """Returns {column: {code: name}} where the header spells out codes, such as those of texts."""
    content = _header(folder)
    found = {}
    for column, settings in _at(content, "tables", table, "columns").items():
        scheme = settings.get("scheme_id") if isinstance(settings, dict) else None
        labels = _at(content, "schemes", scheme, "labels")
        if labels and all(isinstance(name, str) for name in labels.values()):
            found[column] = {str(code): name for code, name in labels.items()}
    return found


def _splits(folder: Path, tables: list[str]) -> dict[str, str]:
    """Returns {table: split} of those that the header assigns to one."""
    content = _header(folder)
    out = {}
    for name in tables:
        split = _at(content, "tables", name).get("split_id")
        kind = _at(content, "splits", split).get("type")
        if split is not None:
            out[name] = str(kind if kind in ("train", "dev", "test") else split)
    return out


def _chosen(path: Path, main: dict[str, Table], splits: dict[str, str]) -> list[str]:
    if len(main) == 1:
        return list(main)
    if "train" in splits.values() and len(set(splits.values())) == len(splits) > 1:
        return list(splits)
    plain = [name for name in main if name in LABEL_NAMES]
    if len(plain) == 1:
        return plain
    first = path / f"db.{next(iter(main))}.csv"
    raise ManifestError(
        f"{path}: several tables of this audformat database have labels ({some(main, 8)}); give "
        f"the one that is meant, such as data.manifest='{first}'"
    )


def _read_one(file: Path, schemes: dict[str, dict]) -> Table:
    """Returns one table with times in seconds and codes spelled out."""
    table = _rows(file)
    for column in (*INDEX[1:], "duration"):
        if column in table.frame:
            put(table, column, [seconds(cell) for cell in table.frame[column].tolist()])
    for column, names in schemes.items():
        if column in table.frame:
            cells = table.frame[column].tolist()
            put(table, column, [names.get(str(c), c) if c is not None else c for c in cells])
            table.notes.append(f"codes of {shown(column)} are spelled out by db.yaml")
    renamed = rename(table, COLUMN_NAMES)
    if renamed:
        table.notes.append(f"taken: {', '.join(renamed)}")
    return table


def _stacked(chosen: list[str], main: dict[str, Table], splits: dict[str, str]) -> Table:
    """Returns the chosen tables below each other, with their splits where there are several."""
    import pandas as pd

    if len(chosen) == 1:
        return main[chosen[0]]
    for name in chosen:
        main[name].frame["split"] = splits[name]
    frame = pd.concat([main[name].frame for name in chosen], ignore_index=True).astype(object)
    frame = frame.where(frame.notna(), None)
    return Table(
        frame,
        list(range(1, len(frame) + 1)),
        [note for name in chosen for note in main[name].notes]
        + ["rows are numbered from 1 through the tables in this order"],
        [fault for name in chosen for fault in main[name].faults],
    )


def _joined(table: Table, other: Table, name: str) -> list[str]:
    """Adds the columns of a table of whole files; returns the sentence on what was done."""
    frame = other.frame
    if "file" not in frame or "start" in frame or frame["file"].duplicated().any():
        return [f"table {name} is left out: it is not one row a file"]
    new = [c for c in frame.columns if c != "file" and c not in table.frame]
    for column in new:
        cells = dict(zip(frame["file"], frame[column], strict=True))
        put(table, column, [cells.get(file) for file in table.frame["file"].tolist()])
    table.faults += other.faults
    return [f"table {name} adds {some(new, 12) or 'nothing'}", *other.notes]


def _with_ids(table: Table) -> Table:
    """Adds an id, the file's path without suffix and the times where a file has several rows."""
    frame = table.frame
    if any(str(name).lower() == "id" for name in frame.columns) or "file" not in frame:
        return table
    files = [str(f).replace("\\", "/") for f in frame["file"].tolist()]
    stems = [f.rsplit(".", 1)[0] if is_sound(f) else f for f in files]
    spans = [""] * len(frame)
    if "start" in frame and "end" in frame:
        spans = [
            f"_{a or 0}-{b or 'end'}" for a, b in zip(frame["start"], frame["end"], strict=True)
        ]
    fuller = [f"{stem}{span}" for stem, span in zip(stems, spans, strict=True)]
    short = [stem.rsplit("/", 1)[-1] for stem in stems]
    ids = short if len(set(short)) == len(short) else distinct(stems, fuller)
    frame.insert(0, "id", ids)
    return table
