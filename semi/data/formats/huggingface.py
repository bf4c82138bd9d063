"""Hugging Face `datasets` as rows: columns of sound become files, numbers of classes their names.

https://huggingface.co/docs/datasets/about_dataset_features: a column Audio holds {bytes, path}, a
ClassLabel integers with -1 for unlabelled. The library itself is not needed.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...errors import ManifestError
from .. import headers
from ..row_ids import content_id, numbered
from ..tables import Fault
from ..wording import counted, shown
from .cells import distinct, some, text, to_table
from .sound_cache import cache_folder, keep, wav

if TYPE_CHECKING:
    import pandas as pd

BATCH = 256  # rows whose sounds are in memory at a time
IDS = ("id", "utterance_id", "utt_id", "utt", "segment_id", "sample_id", "name")
LEARNED = ("label", "votes", "valence", "arousal", "split")


@dataclass
class Rows:
    """Rows of one dataset, in order."""

    records: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def from_dataset(dataset: Any) -> pd.DataFrame:
    """Returns a manifest's table of a `datasets.Dataset` or DatasetDict.

    Sounds are not decoded: their bytes are written once to the user's cache folder, and the column
    audio holds the paths. The splits of a DatasetDict become the column split. Write it with
    `semi.data.manifest.write_manifest`. Raises ManifestError for anything else, for streams, whose
    end and features may be unknown, for no rows, and for numbers beyond a ClassLabel's names.
    """
    parts = dataset if isinstance(dataset, Mapping) else {"": dataset}
    found = Rows()
    for split, part in parts.items():
        if "Iterable" in type(part).__name__:
            raise ManifestError(
                f"from_dataset takes no stream ({type(part).__name__}): load the data set without "
                "streaming=True, or keep a part of it with datasets.Dataset.from_generator"
            )
        if not hasattr(part, "features") or not hasattr(part, "with_format"):
            raise ManifestError(
                f"from_dataset takes a datasets.Dataset or DatasetDict, got {type(part).__name__}"
            )
        features = part.features.to_dict() if part.features is not None else {}
        batches = part.with_format("arrow").iter(batch_size=BATCH)
        rows = read_rows((batch.to_pylist() for batch in batches), features)
        if split:
            rows.records = [{**row, "split": row.get("split", split)} for row in rows.records]
        found.records += rows.records
        found.notes += rows.notes
        found.faults += rows.faults
    if not found.records:
        raise ManifestError("the dataset has no rows; a table needs one row an utterance")
    give_ids(found.records)
    return _frame(found)


def read_rows(batches: Iterable[list[dict]], features: Mapping[str, Any]) -> Rows:
    """Returns the rows of `batches` (lists of records as pyarrow gives them) by their features."""
    rows = Rows()
    names = {name: found for name, f in features.items() if (found := _class_names(f))}
    sounds = [
        name for name, f in features.items() if isinstance(f, dict) and f.get("_type") == "Audio"
    ]
    dropped: dict[str, None] = {}
    kept: dict[str, bool] = {}  # column of sound: does it hold the sounds themselves?
    for number, record in enumerate(_rows_of(batches), 1):
        out: dict[str, Any] = {}
        for name, value in record.items():
            if name in names:
                out[name] = _named(value, names[name], number, name, rows.faults)
            elif name in sounds or is_sound_cell(value, name):
                out[name] = _sound(value, number, name, rows.faults)
                kept[name] = kept.get(name, False) or _inside(value)
                _remember(out, value)
            elif isinstance(value, (bytes, bytearray)) and (words := _decoded(value)) is not None:
                out[name] = words
            elif isinstance(value, (bytes, bytearray)) or _has_bytes(value):
                dropped[name] = None
            else:
                out[name] = text(value)
        rows.records.append(out)
    _name_audio(rows.records, list(kept))
    within = [name for name, inside in kept.items() if inside]
    if within:
        rows.notes.append(f"sounds within {some(within)} are kept as files in {cache_folder()}")
    for name, classes in names.items():
        rows.notes.append(
            f"numbers of {shown(name)} are named by its ClassLabel: {some(classes, 12)}"
        )
    if dropped:
        rows.notes.append(f"columns of bytes that are no sound are left out: {some(dropped)}")
    return rows


def _decoded(value: bytes | bytearray) -> str | None:
    """Returns bytes that are text, as columns without a type of text keep it, else None."""
    try:
        words = bytes(value).decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if any(c < " " and c not in "\t\r\n" for c in words) else words


def give_ids(records: list[dict[str, Any]]) -> None:
    """Takes the sounds' own names as ids where no column is one; else what a row holds names it."""
    names = [record.pop("_name", None) for record in records]
    if any(key.lower() in IDS for record in records[:1] for key in record):
        return
    content = [_content(record) for record in records]
    known = [str(n).rsplit(".", 1)[0] if n else c for n, c in zip(names, content, strict=True)]
    fuller = [f"{name}-{c}" for name, c in zip(known, content, strict=True)]
    cells = [repr(sorted(record.items())) for record in records]
    for name, record in zip(numbered(distinct(known, fuller), cells), records, strict=True):
        record["id"] = name


def _content(record: dict[str, Any]) -> str:
    """Returns an id of a row's cells but those that are to be learned."""
    named = headers.recognise(list(record), {}, "", gold=False).canonical
    cells = {name: cell for name, cell in record.items() if named.get(name) not in LEARNED}
    if isinstance(cells.get("audio"), str):  # a kept sound is called by its SHA-256
        cells["audio"] = cells["audio"].rpartition("/")[2]
    words = next((cells[name] for name, what in named.items() if what == "text"), "")
    return content_id(words, sorted(cells.items()))


def moved(faults: list[Fault], by: int) -> list[Fault]:
    """Returns the faults of a part whose rows stand `by` rows further down in the whole."""
    return [(None if f[0] is None else f[0] + by, *f[1:]) for f in faults]


def is_sound_cell(value: Any, name: str = "") -> bool:
    """Says whether a cell holds a sound: {bytes, path} or {array, sampling_rate}."""
    if isinstance(value, bytes):
        return _readable(value)
    if not isinstance(value, dict):
        return False
    if {"array", "sampling_rate"} <= set(value):
        return True
    data = value.get("bytes")
    if set(value) != {"bytes", "path"} or not isinstance(data, (bytes, type(None))):
        return False
    return name in ("audio", "speech", "wav") or (data is not None and _readable(data))


def _readable(data: bytes) -> bool:
    import soundfile

    try:
        return soundfile.info(io.BytesIO(data)).frames > 0
    except soundfile.LibsndfileError:
        return False


def _rows_of(batches: Iterable[list[dict]]) -> Iterator[dict]:
    for batch in batches:
        yield from batch


def _class_names(feature: Any) -> list[str] | None:
    """Returns the names of a ClassLabel, or of a list of them."""
    if isinstance(feature, list) and feature:
        feature = feature[0]
    while isinstance(feature, dict) and feature.get("_type") in ("Sequence", "List", "LargeList"):
        feature = feature.get("feature")
    if isinstance(feature, dict) and (feature.get("_type") == "ClassLabel" or "names" in feature):
        return [str(name) for name in feature.get("names") or []] or None
    return None


def _named(value: Any, names: list[str], row: int, column: str, faults: list[Fault]) -> str | None:
    """Returns the name of a class's number, several joined by ';'; -1 is unlabelled."""
    found = []
    for number in value if isinstance(value, list) else [value]:
        if number is None or number == -1:
            continue
        if isinstance(number, str):  # cast to names already
            found.append(number)
        elif 0 <= int(number) < len(names):
            found.append(names[int(number)])
        else:
            reason = f"the ClassLabel has {counted(len(names), 'name')}, from 0"
            faults.append((row, column, str(number), reason, "correct the number or the names"))
    return ";".join(found) or None


def _sound(value: Any, row: int, column: str, faults: list[Fault]) -> str | None:
    """Returns the path of a sound's file."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (bytes, bytearray)):
        return keep(bytes(value), None)
    if value.get("bytes") is not None:
        return keep(bytes(value["bytes"]), value.get("path"))
    if value.get("array") is not None:
        try:
            return keep(wav(value["array"], value["sampling_rate"]), None)
        except (TypeError, ValueError):
            reason = "an array that is no sound (samples and sampling_rate are needed)"
            faults.append((row, column, "", reason, "cast the column to Audio"))
            return None
    return value.get("path")


def _remember(out: dict[str, Any], value: Any) -> None:
    """Keeps the sound's own name, from which ids are made."""
    path = (
        value.get("path") if isinstance(value, dict) else value if isinstance(value, str) else None
    )
    if path and "_name" not in out:
        out["_name"] = str(path).replace("\\", "/").rsplit("/", 1)[-1]


def _inside(value: Any) -> bool:
    """Says whether a cell holds the sound itself and not only its path."""
    if isinstance(value, dict):
        return value.get("bytes") is not None or value.get("array") is not None
    return isinstance(value, bytes)


def _has_bytes(value: Any) -> bool:
    return isinstance(value, dict) and any(isinstance(v, bytes) for v in value.values())


def _name_audio(records: list[dict[str, Any]], sounds: list[str]) -> None:
    """Calls the first column of sound audio; it goes first, and a plain path beside it stays."""
    if not sounds:
        return
    first = "audio" if "audio" in sounds else sounds[0]
    for record in records:
        path = record.pop(first, None)
        if "audio" in record:
            record["audio_path_given"] = record.pop("audio")
        record["audio"] = path


def _frame(rows: Rows) -> pd.DataFrame:
    if rows.faults:
        row, column, value, reason, remedy = rows.faults[0]
        raise ManifestError(
            f"{counted(len(rows.faults), 'cell')} of the dataset cannot be used, the first in row "
            f"{row}, {shown(column)} '{shown(value)}': {reason}; {remedy}"
        )
    return to_table(rows.records, range(1, len(rows.records) + 1)).frame
