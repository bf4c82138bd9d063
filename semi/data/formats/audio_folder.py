"""AudioFolder with metadata: metadata.csv or .jsonl beside the sounds, which file_name names.

https://huggingface.co/docs/datasets/audio_dataset#audiofolder: a metadata file at the top or one in
each split's folder; `file_name` (or `*_file_name`) is relative to the metadata file's own folder.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from ..checks import SPLIT_ALIASES
from ..tables import Fault, Table
from ..wording import counted
from .cells import head, header, is_sound, plain_table, some, to_table, walk

METADATA = ("metadata.csv", "metadata.tsv", "metadata.jsonl", "metadata.parquet")


def recognises(path: Path) -> bool:
    """Says whether a folder holds a metadata file, at the top or a level below, with file_name."""
    return path.is_dir() and any(_file_column(_columns(file)) for file in _metadata(path))


def read(path: Path, root: Path) -> Table:
    """Returns the rows of all metadata files; the split is that of a folder train/, test/ ..."""
    records: list[dict] = []
    faults: list[Fault] = []
    notes, parts, rows = [], [], []
    files = [file for file in _metadata(path) if _file_column(_columns(file))]
    for file in files:
        table = plain_table(file)
        column = _file_column([str(name) for name in table.frame.columns]) or "file_name"
        first = len(records)
        faults += table.faults
        notes += table.notes
        for record in table.frame.to_dict("records"):
            name = str(record.pop(column, None) or "").replace("\\", "/")
            sound = os.path.abspath(file.parent / name) if name else None
            inside = [] if os.path.isabs(name) else name.split("/")[:-1]
            inside += file.parent.relative_to(path).parts
            split = next((p for p in inside if p.lower() in SPLIT_ALIASES), None)
            row = {"audio": sound, **record}
            if split is not None and "split" not in record:
                row["split"] = split
            records.append(row)
        rows += table.rows if len(files) == 1 else range(first + 1, len(records) + 1)
        count = counted(len(records) - first, "row")
        parts.append(f"{file.relative_to(path).as_posix()} ({count})")
    notes.insert(0, f"read as an AudioFolder: {', '.join(parts)}")
    if len(files) > 1:
        notes.append("rows are numbered from 1 through the metadata files in this order")
    named = {row["audio"] for row in records}
    unnamed = [
        f.relative_to(path) for f in walk(path) if is_sound(f) and str(f.absolute()) not in named
    ]
    if unnamed:
        notes.append(
            f"left out, named by no metadata: {counted(len(unnamed), 'sound')} ({some(unnamed)})"
        )
    return to_table(records, rows, notes, faults)


def _metadata(path: Path) -> list[Path]:
    """Returns the metadata files, train before test; of two kinds in a folder the first counts."""
    folders = [path, *sorted(p for p in path.iterdir() if p.is_dir() and p.name[0] != ".")]
    order = list(SPLIT_ALIASES)
    folders.sort(key=lambda p: order.index(p.name.lower()) if p.name.lower() in order else -1)
    found = []
    for folder in folders:
        found += [folder / name for name in METADATA if (folder / name).is_file()][:1]
    return found


def _columns(file: Path) -> list[str]:
    if file.suffix == ".parquet":
        import pyarrow.parquet as pq

        return list(pq.read_schema(file).names)
    if file.suffix == ".jsonl":
        first = next((line for line in head(file).splitlines() if line.strip()), "")
        try:
            return list(json.loads(first))
        except (ValueError, TypeError):
            return []
    return header(file)


def _file_column(names: list[str]) -> str | None:
    """Returns the column that names the sound."""
    if "file_name" in names:
        return "file_name"
    return next((name for name in names if name.endswith("_file_name")), None)
