"""Hugging Face's Parquet: one file, or a folder of shards such as train-00000-of-00002.parquet.

https://huggingface.co/docs/hub/datasets-file-names: the split is the beginning of the shard's name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import ManifestError
from ..checks import SPLIT_ALIASES
from ..tables import Fault, Table
from ..wording import WARNING, counted, setting
from .cells import damaged, some, to_table, walk
from .huggingface import BATCH, give_ids, moved, read_rows

NUMBERED = re.compile(r".*-\d{5}-of-(?P<of>\d{5})(-[0-9a-f]+)?\.parquet")


def recognises(path: Path) -> bool:
    """Says whether `path` is Parquet with features or sounds in it, or a folder of such shards."""
    if path.is_dir():
        return bool(_shards(path))
    return path.suffix.lower() in (".parquet", ".pq") and _is_dataset(path)


def read(path: Path, root: Path) -> Table:
    """Returns the rows of one file or of all shards, sounds as files, classes by name."""
    shards = [path] if path.is_file() else _shards(path)
    splits = [None if path.is_file() else _split(shard) for shard in shards]
    one = len(set(splits)) == 1
    first = 2 if path.is_file() else 1  # a single file counts its rows as every other table does
    records: list[dict[str, Any]] = []
    notes: list[str] = []
    faults: list[Fault] = []
    for shard, split in zip(shards, splits, strict=True):
        rows = read_rows(_batches(shard), _features(shard))
        faults += moved(rows.faults, first - 1 + len(records))
        for record in rows.records:
            if not one and split:
                record.setdefault("split", split)
            records.append(record)
        notes += [note for note in rows.notes if note not in notes]
    give_ids(records)
    of = (
        f" of {counted(len(shards), 'file')} ({some(s.relative_to(path) for s in shards)})"
        if len(shards) > 1
        else ""
    )
    notes.insert(0, f"read as a Hugging Face dataset{of}: {counted(len(records), 'row')}")
    if path.is_dir():
        notes += _missing(shards)
        left = [f.name for f in walk(path) if f.suffix.lower() == ".parquet" and f not in shards]
        notes += [f"left out, named after no split: {some(left)}"] if left else []
    return to_table(records, range(first, first + len(records)), notes, faults)


def _shards(folder: Path) -> list[Path]:
    """Returns a dataset's shards that are named after a split, train first."""
    if (folder / "db.yaml").is_file():
        return []
    found = [file for file in walk(folder) if file.suffix.lower() == ".parquet" and _split(file)]
    order = list(SPLIT_ALIASES.values())
    found.sort(key=lambda file: (order.index(_split(file) or "train"), file.name))
    if not found or not _is_dataset(found[0]):
        return []
    places = sorted({_configuration(file) for file in found})
    if len(places) > 1:
        within = [place for place in places if place != folder]  # the folder itself is all of them
        raise ManifestError(
            f"{folder}: {len(places)} configurations of a dataset "
            f"({some(p.name for p in places)}); give one, {setting('data.manifest', within[0])}"
        )
    return found


def _configuration(shard: Path) -> Path:
    """Returns the folder of a dataset's configuration, above the folder of a split."""
    return shard.parent.parent if _known(shard.parent.name) else shard.parent


def _split(shard: Path) -> str | None:
    """Returns the split in a shard's name, train-00000-of-00002 or train_clean, or its folder's."""
    return _known(shard.stem) or (_known(shard.parent.name) if shard.stem.isdigit() else None)


def _known(name: str) -> str | None:
    return SPLIT_ALIASES.get(re.split(r"[-_.\d]", name.lower())[0])


def _missing(shards: list[Path]) -> list[str]:
    """Returns a sentence where the shards' own names promise more of them."""
    promised = {}
    for shard in shards:
        match = NUMBERED.fullmatch(shard.name)
        if match:
            promised.setdefault(
                (shard.parent, shard.name.split("-")[0], int(match["of"])), []
            ).append(shard)
    return [
        f"{WARNING}only {len(found)} of {counted(of, 'shard')} of {name} are here: the rest "
        "of its rows is missing"
        for (_, name, of), found in promised.items()
        if len(found) < of
    ]


def _is_dataset(path: Path) -> bool:
    """Says whether the file's schema has Hugging Face's features, or a column of bytes and path."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError):
        return False  # read as any Parquet file, and refused there
    if b"huggingface" in (schema.metadata or {}):
        return True
    for field in schema:
        if pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            return True  # bytes are sounds, or nothing that a table can hold
        if pa.types.is_struct(field.type):
            names = {field.type.field(i).name for i in range(field.type.num_fields)}
            if {"bytes", "path"} <= names or {"array", "sampling_rate"} <= names:
                return True
    return False


def _features(path: Path) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return features_of(pq.read_schema(path).metadata)
    except (pa.ArrowException, OSError) as error:
        raise damaged(path, "Parquet file", error) from None


def features_of(metadata: dict[bytes, bytes] | None) -> dict[str, Any]:
    """Returns the features that a schema's metadata describes, {} where it describes none."""
    try:
        content = json.loads((metadata or {}).get(b"huggingface", b"{}"))
        features = content["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return features if isinstance(features, dict) else {}


def _batches(path: Path) -> Iterator[list[dict]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=BATCH):
                yield batch.to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise damaged(path, "Parquet file", error) from None
