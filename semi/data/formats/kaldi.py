"""Kaldi data folders: wav.scp, segments, text, utt2spk, utt2emo ... (also of ESPnet).

https://kaldi-asr.org/doc/data_prep.html: each line is an utterance's (or recording's) id, a blank
and a value. Commands in wav.scp are never run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ...errors import ManifestError
from ..checks import SPLIT_ALIASES
from ..encodings import decode
from ..tables import Fault, Table
from ..wording import counted
from .cells import some, to_table

BY_UTTERANCE = {  # file -> column of the manifest; of several for a column the first counts
    "text": "text",
    "utt2spk": "speaker",
    **{name: "label" for name in ("utt2emo", "utt2emotion", "utt2label", "utt2lab", "emotion")},
    **{name: "label" for name in ("emotions", "label", "labels", "emo")},
    "utt2lang": "language",
    "utt2dur": "seconds",
    **{name: "session" for name in ("utt2sess", "utt2session")},
}
TWICE = "a line above says something else of the same id"
ARCHIVED = re.compile(r"\.ark(:\d+)?(\[.*\])?$")


def recognises(path: Path) -> bool:
    """Says whether `path` is a wav.scp, its folder, or a folder of such folders."""
    return bool(_folders(path))


def read(path: Path, root: Path) -> Table:
    """Returns a row for every segment, or for every recording where there are no segments."""
    folders, left = _of_splits(path, _folders(path))
    notes, records, rows = [], [], []
    faults: list[Fault] = []
    for folder in folders:
        first, folder_notes = len(records), []
        found: list[Fault] = []
        got = _read_folder(folder, root, folder_notes, found)
        prefix = f"{folder.name}/" if len(folders) > 1 else ""
        faults += [(f[0], f"{prefix}{f[1]}", f[2], f[3], f[4]) for f in found]
        split = _split(folder.name) if len(folders) > 1 else None
        for number, record in got:
            if split:
                record["split"] = split
            records.append(record)
            rows.append(number if len(folders) == 1 else len(records))
        kind = "segment" if (folder / "segments").is_file() else "recording"
        notes.append(f"read as a Kaldi data folder: {prefix}{counted(len(records) - first, kind)}")
        notes += folder_notes
    if len(folders) > 1:
        notes.append("rows are numbered from 1 through the folders in this order")
    if left:
        notes.append(f"folders left out, named after no split: {some(left)}")
    return to_table(records, rows, notes, faults)


def _folders(path: Path) -> list[Path]:
    if path.name == "wav.scp":
        return [path.parent]
    if not path.is_dir():
        return []
    if (path / "wav.scp").is_file():
        return [path]
    return [p for p in sorted(path.iterdir()) if (p / "wav.scp").is_file()]


def _of_splits(path: Path, folders: list[Path]) -> tuple[list[Path], list[str]]:
    """Returns the folders to read and the names of those left out, named after no split.

    Raises ManifestError where `path` holds several and none is named after one.
    """
    if path.name == "wav.scp" or folders == [path]:
        return folders, []
    named = [folder for folder in folders if _split(folder.name)]
    if not named:
        raise ManifestError(
            f"{path}: none of its Kaldi data folders ({some(f.name for f in folders)}) is named "
            f"after a split; give one, data.manifest='{folders[0]}'"
        )
    return named, [folder.name for folder in folders if folder not in named]


def _split(name: str) -> str | None:
    """Returns the split that a folder such as train_clean or dev-1 is named after."""
    return SPLIT_ALIASES.get(re.split(r"[_\-.]", name.lower())[0])


def _read_folder(
    folder: Path, root: Path, notes: list[str], faults: list[Fault]
) -> list[tuple[int, dict]]:
    sounds: dict[str, str | None] = {}
    places = [root, *[p for p in (folder, *folder.absolute().parents[:2])]]
    lines = list(_lines(folder / "wav.scp"))
    for number, name, value in lines:
        refused = _refused(value)
        if refused:
            faults.append((number, "wav.scp", value[:120], *refused))
        if name in sounds and (folder / "segments").is_file():  # else the id is there twice
            faults.append((number, "wav.scp", name, TWICE, "keep the line that is right"))
        sounds[name] = None if refused else _place(value, places)
    if (folder / "segments").is_file():
        entries = list(_segments(folder / "segments", sounds, faults))
    else:
        entries = [(number, name, {"audio": sounds[name]}) for number, name, _ in lines]
    found = [(number, {"id": name, **r}) for number, name, r in entries if r["audio"] is not None]
    wanted = {name for _, name, _ in entries}
    taken: set[str] = set()
    for file, column in BY_UTTERANCE.items():
        if not (folder / file).is_file():
            continue
        if column in taken:
            notes.append(f"{file} is left out: another file gives the {column}")
            continue
        taken.add(column)
        cells = _cells(folder / file, faults)
        for _, record in found:
            record[column] = cells.get(record["id"])
        extra = [name for name in cells if name not in wanted]
        if extra:
            count = counted(len(extra), "line")
            notes.append(f"left out of {file}, naming no utterance: {count} ({some(extra)})")
    if "speaker" not in taken and (folder / "spk2utt").is_file():
        speakers = {u: s for _, s, value in _lines(folder / "spk2utt") for u in value.split()}
        for _, record in found:
            record["speaker"] = speakers.get(record["id"])
    if "label" not in taken:
        labels = ", ".join(name for name, column in BY_UTTERANCE.items() if column == "label")
        notes.append(f"{folder.name} holds no labels (looked for {labels})")
    return found


def _cells(path: Path, faults: list[Fault]) -> dict[str, str]:
    """Returns {utterance: value} of a file; two values for one utterance are a fault."""
    cells: dict[str, str] = {}
    for number, name, value in _lines(path):
        if cells.setdefault(name, value) != value:
            what = f"{name} {value}"[:80]
            faults.append((number, path.name, what, TWICE, "keep the line that is right"))
    return cells


def _segments(
    path: Path, sounds: dict[str, str | None], faults: list[Fault]
) -> Iterator[tuple[int, str, dict]]:
    """Yields (line, utterance, audio with start and end); an end of -1 is the recording's own."""
    for number, name, value in _lines(path):
        words = value.split()
        remedy = "write: utterance recording start end (seconds)"
        if len(words) < 3:
            faults.append((number, "segments", value[:80], "not a segment", remedy))
            continue
        recording, start, end = words[:3]
        if recording not in sounds:
            reason = "no line of wav.scp has this recording"
            faults.append((number, "segments", recording, reason, "add it to wav.scp"))
            continue
        end = None if end.startswith("-") else end
        yield number, name, {"audio": sounds[recording], "start": start, "end": end}


def _refused(value: str) -> tuple[str, str] | None:
    """Returns the reason and the remedy where a line of wav.scp names no plain file."""
    if value.endswith("|") or value.startswith("|"):
        remedy = "write the command's output to a file and name that in wav.scp"
        return "a command, and semi runs no command from a data file", remedy
    if ARCHIVED.search(value):
        return "an offset into a Kaldi archive", "write the sounds out as wav files and name those"
    if value in ("", "-"):
        return "no file", "write the path of the sound behind the id"
    return None


def _place(value: str, places: list[Path]) -> str:
    """Returns the sound beneath the first of `places` that has it: recipes have their own."""
    for place in places:
        if (place / value).is_file():
            return str((place / value).absolute())
    return value


def _lines(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yields (line number, id, value) of every line that is not blank."""
    content = decode(path.read_bytes(), path)[0]
    if not content.strip():
        raise ManifestError(f"{path}: the file is empty; it needs one line an utterance")
    for number, line in enumerate(content.split("\n"), 1):
        if line.strip():
            name, _, value = line.strip().replace("\t", " ", 1).partition(" ")
            yield number, name, value.strip()
