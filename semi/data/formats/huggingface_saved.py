"""A dataset written by `datasets` with save_to_disk: state.json and Arrow files; a folder a split.

https://huggingface.co/docs/datasets/process#save: a DatasetDict adds dataset_dict.json with the
names of its splits.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..tables import Fault, Table
from ..wording import counted
from .cells import damaged, to_table
from .huggingface import BATCH, give_ids, moved, read_rows
from .huggingface_files import features_of


def recognises(path: Path) -> bool:
    """Says whether `path` is such a folder."""
    if (path / "dataset_dict.json").is_file():
        return True
    return (path / "state.json").is_file() and any(path.glob("*.arrow"))


def read(path: Path, root: Path) -> Table:
    """Returns the rows of all splits, sounds as files, classes by name."""
    parts = {"": path}
    if (path / "dataset_dict.json").is_file():
        parts = {name: path / name for name in _splits(path / "dataset_dict.json")}
    records: list[dict[str, Any]] = []
    notes: list[str] = []
    faults: list[Fault] = []
    for split, folder in parts.items():
        files = _files(folder)
        rows = read_rows(_batches(files), _features(files))
        faults += moved(rows.faults, len(records))
        for record in rows.records:
            if split and len(parts) > 1:
                record.setdefault("split", split)
            records.append(record)
        notes += [note for note in rows.notes if note not in notes]
    give_ids(records)
    named = f", splits {', '.join(parts)}" if "" not in parts else ""
    notes.insert(
        0, f"read as a Hugging Face dataset on disk: {counted(len(records), 'row')}{named}"
    )
    return to_table(records, range(1, len(records) + 1), notes, faults)


def _splits(path: Path) -> list[str]:
    found = _json(path).get("splits")
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise damaged(path, "list of a dataset's splits", "no splits are named")
    return found


def _files(folder: Path) -> list[Path]:
    """Returns the Arrow files of one split, in order."""
    path = folder / "state.json"
    found = _json(path).get("_data_files")
    try:
        return [folder / Path(file["filename"]).name for file in found or []]
    except (TypeError, KeyError):
        raise damaged(path, "state of a saved dataset", "no files are named") from None


def _json(path: Path) -> dict:
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise damaged(path, "JSON file of a saved dataset", error) from None
    return content if isinstance(content, dict) else {}


def _features(files: list[Path]) -> dict[str, Any]:
    import pyarrow as pa

    for file in files:
        with open(file, "rb") as source:
            try:
                return features_of(pa.ipc.open_stream(source).schema.metadata)
            except (pa.ArrowException, OSError, ValueError) as error:
                raise damaged(file, "Arrow file", error) from None
    return {}


def _batches(files: list[Path]) -> Iterator[list[dict]]:
    import pyarrow as pa

    for file in files:
        with open(file, "rb") as source:
            try:
                for batch in pa.ipc.open_stream(source):
                    for first in range(0, batch.num_rows, BATCH):
                        yield batch.slice(first, BATCH).to_pylist()
            except (pa.ArrowException, OSError, ValueError) as error:
                raise damaged(file, "Arrow file", error) from None
