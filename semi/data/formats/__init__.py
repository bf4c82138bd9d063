"""Other people's formats, each read into the same Table as a CSV is: one small file a format.

A format is two functions: `recognises(path)` is cheap and says yes only to what can be nothing
else, `read(path, root)` returns the rows. A relative path in the column audio starts at `root`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...errors import ManifestError
from ..tables import Table
from ..wording import shown
from . import (
    audformat,
    audio_folder,
    class_folders,
    excel,
    huggingface_files,
    huggingface_saved,
    json_objects,
    kaldi,
    label_studio,
    speechbrain,
)
from .cells import INPUT_TABLES, some, walk
from .sound_cache import cache_folder


@dataclass(frozen=True)
class Format:
    """How a format is told from others, and read."""

    recognises: Callable[[Path], bool]
    read: Callable[[Path, Path], Table]


FORMATS = {  # in the order in which they are tried
    "Kaldi data folder": Format(kaldi.recognises, kaldi.read),
    "Hugging Face dataset on disk": Format(huggingface_saved.recognises, huggingface_saved.read),
    "Hugging Face Parquet": Format(huggingface_files.recognises, huggingface_files.read),
    "audformat": Format(audformat.recognises, audformat.read),
    "AudioFolder with metadata": Format(audio_folder.recognises, audio_folder.read),
    "class folders": Format(class_folders.recognises, class_folders.read),
    "Label Studio export": Format(label_studio.recognises, label_studio.read),
    "SpeechBrain": Format(speechbrain.recognises, speechbrain.read),
    "JSON object": Format(json_objects.recognises, json_objects.read),
    "Excel": Format(excel.recognises, excel.read),
}


def read(path: Path, root: Path) -> Table | None:
    """Returns the rows of the first format that recognises `path`, None for an ordinary table.

    Raises ManifestError for a folder that is none of FORMATS, saying what was found in it.
    """
    try:
        for kind, form in FORMATS.items():
            if path.exists() and form.recognises(path):
                table = form.read(path, root)
                table.kind = kind
                named = {row for row, *_ in table.faults if row is not None}
                table.refused = len(named - set(table.rows))
                return table
        if path.is_dir():
            raise ManifestError(_unknown_folder(path))
    except OSError as error:
        name = error.filename or path
        raise ManifestError(
            f"{shown(name, 200)}: cannot be read: {error.strerror or error}"
        ) from None
    return None


def sound_root(path: Path, audio_root: str) -> Path:
    """Returns the folder that relative sounds start from: data.audio_root, else the table's own."""
    if audio_root:
        return Path(audio_root).expanduser()
    return path if path.is_dir() else path.parent


def digest(path: Path, table: Table) -> str:
    """Returns the SHA-256 of a file's bytes, or of all cells where `path` is a folder.

    Cells are counted without the folders in front, so that a folder may be moved.
    """
    content = hashlib.sha256()
    if path.is_file():
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                content.update(block)
        return content.hexdigest()
    places = [f"{place}/" for place in (path, path.absolute(), cache_folder())]
    for record in [list(table.frame.columns), *table.frame.to_numpy().tolist()]:
        for cell in record:
            if isinstance(cell, str):
                for place in places:
                    cell = cell.removeprefix(place)
            content.update(json.dumps(cell, ensure_ascii=False, default=str).encode() + b"\n")
    return content.hexdigest()


def _unknown_folder(path: Path) -> str:
    """Returns the sentence on a folder that no format recognises: what it holds, what is read."""
    files = list(walk(path))
    tables = [p.relative_to(path) for p in files if p.suffix.lower() in INPUT_TABLES]
    kinds: dict[str, int] = {}
    for file in files:
        kinds[file.suffix.lower() or "no suffix"] = kinds.get(file.suffix.lower(), 0) + 1
    if tables:
        return (
            f"{path} is a folder that holds the table{'s' * (len(tables) > 1)} {some(tables)}; "
            f"give the table itself, data.manifest='{path / tables[0]}'"
        )
    found = ", ".join(f"{n} x {kind}" for kind, n in sorted(kinds.items(), key=lambda k: -k[1])[:5])
    return (
        f"{path} is a folder without sound or table ({found or 'it is empty'}); give a table of "
        "utterances, or a folder of class folders, an AudioFolder, a Kaldi data folder, an "
        "audformat database or a Hugging Face dataset"
    )
