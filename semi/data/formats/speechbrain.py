"""SpeechBrain: {"id": {"wav": "{data_root}/a.wav", "length": 1.5, "emo": "neu"}, ...}, or a CSV.

https://speechbrain.readthedocs.io, "Data loading for big datasets and shared filesystems" and
dataio.dataset: from_json replaces {names}, from_csv (ID, duration, wav) replaces $names.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ..encodings import decode
from ..tables import Fault, Table
from ..wording import counted
from .cells import header, plain_table, put, rename, to_table
from .json_objects import objects_by_id

PLACEHOLDER = re.compile(r"^(\{\w+\}|\$\{?\w+\}?)[/\\]*")
WAVS = ("wav", "sig", "audio", "path", "file", "wav_path", "audio_path")
COLUMN_NAMES = {
    **{name: "label" for name in ("emo", "emotion", "emo_label", "label")},
    **{name: "text" for name in ("wrd", "words", "transcript", "text")},
    **{"length": "seconds", "duration": "seconds", "spk": "speaker", "spk_id": "speaker"},
}


def recognises(path: Path) -> bool:
    """Says whether `path` is an object of rows with sounds, or a CSV with ID, duration, wav."""
    if not path.is_file():
        return False
    if path.suffix.lower() == ".csv":
        return header(path)[:2] == ["ID", "duration"] or {"ID", "duration", "wav"} <= set(
            header(path)
        )
    found = objects_by_id(path)
    return bool(found) and any(_wav(record) for record in found.values())


def read(path: Path, root: Path) -> Table:
    """Returns the rows; {data_root} and the like become the folder where relative sounds start."""
    faults: list[Fault] = []
    if path.suffix.lower() == ".csv":
        table = plain_table(path)
        for name in table.frame.columns:
            put(table, name, [_relative(cell) for cell in table.frame[name].tolist()])
        kind = "CSV"
    else:
        records = []
        for row, (name, record) in enumerate((objects_by_id(path) or {}).items(), 1):
            records.append({"id": name, **_record(dict(record), row, root, faults)})
        table = to_table(records, range(1, len(records) + 1), faults=faults)
        kind = "JSON"
    table.notes.insert(0, f"read as a SpeechBrain {kind}: {counted(len(table.rows), 'row')}")
    given = re.findall(r"\{\w+\}|\$\w+", decode(path.read_bytes(), path)[0])
    if given:
        names = ", ".join(sorted(set(given))[:5])
        table.notes.append(f"{names} stands for {root} (data.audio_root, else the table's folder)")
    renamed = rename(table, COLUMN_NAMES)
    if renamed:
        table.notes.append(f"taken: {', '.join(renamed)}")
    return table


def _wav(record: dict) -> str | None:
    """Returns the key of a record that holds its sound."""
    return next((key for key in WAVS if isinstance(record.get(key), (str, dict))), None)


def _record(record: dict[str, Any], row: int, root: Path, faults: list[Fault]) -> dict[str, Any]:
    key = _wav(record)
    if key is None:
        return record
    value = record.pop(key)
    if isinstance(
        value, dict
    ):  # {"file": ..., "start": first sample, "stop": sample after the last}
        sound = _relative(value.get("file") or value.get("files"))
        if not isinstance(sound, str):
            reason = "a sound in several files"
            faults.append(
                (row, key, json.dumps(value)[:80], reason, "join its channels to one file")
            )
            return record
        record |= _span(value, root / sound, row, faults)
        value = sound
    return {"audio": _relative(value), **record}


def _span(value: dict, file: Path, row: int, faults: list[Fault]) -> dict[str, float]:
    """Returns start and end in seconds of a span given in samples."""
    import soundfile

    if value.get("start") is None and value.get("stop") is None:
        return {}
    try:
        rate = soundfile.info(str(file)).samplerate
        return {
            name: float(value[key]) / rate
            for name, key in (("start", "start"), ("end", "stop"))
            if value.get(key) is not None
        }
    except (soundfile.LibsndfileError, TypeError, ValueError):
        reason = "a span in samples of a file whose rate cannot be read"
        faults.append((row, "wav", str(value.get("file"))[:80], reason, "correct the path"))
        return {}


def _relative(cell: Any) -> Any:
    """Returns a path without the placeholder in front of it."""
    return PLACEHOLDER.sub("", cell) if isinstance(cell, str) else cell
