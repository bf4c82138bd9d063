"""What KEMDy19 and KEMDy20 share: ratings, sounds and transcripts joined by segment id."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ManifestError
from ..wording import counted
from .emotions import Spelling
from .files import SOUNDS, Tree, examples, one_of, tally, to_table
from .transcripts import strip_tags

if TYPE_CHECKING:
    import pandas as pd

SIGNALS = ("eda", "temp", "ibi", "ecg")


def check_options(tags: str, votes: str, missing: str) -> None:
    """Raises ManifestError where an option that both corpora have is set to something else."""
    one_of("tags", tags, ("keep", "strip"))
    one_of("votes", votes, ("raters", "none"))
    one_of("missing", missing, ("drop", "keep"))


def join_files(
    tree: Tree, records: list[dict[str, Any]], *, tags: str, missing: str, signal_stem: str
) -> tuple[list[dict[str, Any]], list[str]]:
    """Returns the records with audio, text and signal files, and notes; each id stays once.

    `signal_stem` is the record's key that names its recordings of biosignals.
    """
    sounds, texts = tree.stems(SOUNDS), tree.stems((".txt",))
    signals = {kind: tree.stems((".csv",), under=kind) for kind in SIGNALS}
    out: dict[str, dict[str, Any]] = {}
    twice, silent, wordless, broken, tags_only = [], [], [], [], 0
    for record in records:
        name = record["id"]
        if name in out:
            twice.append(name)
            continue
        sound, transcript = sounds.get(name.lower()), texts.get(name.lower())
        if sound is None:
            silent.append(name)
            if missing == "drop" or transcript is None:
                continue
        if transcript is None:
            wordless.append(name)
        text = tree.text(transcript) if transcript is not None else None
        if text and "\ufffd" in text:
            broken.append(name)
        if text and tags == "strip":
            text = strip_tags(text)
            tags_only += not text
        stem = record.pop(signal_stem).lower()
        paths = {kind: files.get(stem) for kind, files in signals.items() if files}
        record |= {kind: _filled(path) for kind, path in paths.items()}
        out[name] = {"audio": str(sound) if sound else None, "text": text or None} | record
    if not out:
        raise ManifestError(
            f"{tree.folder}: {counted(len(records), 'rated utterance')}, but no sound of any of "
            f"them, such as {records[0]['id']}.wav; give the folder that holds both annotation and "
            "wav"
        )
    known = {record["id"].lower() for record in records}
    unrated = [stem for stem in sounds if stem.startswith("sess") and stem not in known]
    notes = _file_notes(missing, silent, wordless, broken, tags_only, twice)
    if signals["ecg"]:
        ecg = counted(len(signals["ecg"]), "ECG recording")
        notes.append(f"{ecg} named in column ecg; no features are made of them")
    if unrated:
        sounds_left = counted(len(unrated), "sound")
        notes.append(f"{sounds_left} without a rating left out ({examples(unrated)})")
    return list(out.values()), notes  # in the order of the talk


def _file_notes(
    missing: str, silent: list[str], wordless: list[str], broken: list[str], tags_only: int,
    twice: list[str],
) -> list[str]:  # fmt: skip
    """Returns a sentence for each kind of file that is missing, broken or twice."""
    notes = []
    if silent:
        done = "dropped" if missing == "drop" else "kept for the transcript alone"
        notes.append(
            f"{counted(len(silent), 'utterance')} without a wav {done} ({examples(silent)})"
        )
    if wordless:
        notes.append(
            f"{counted(len(wordless), 'utterance', 'has', 'have')} no transcript "
            f"({examples(wordless)})"
        )
    if broken:
        notes.append(
            f"{counted(len(broken), 'transcript', 'holds', 'hold')} bytes that are neither UTF-8 "
            f"nor CP949, shown as \ufffd ({examples(broken)})"
        )
    if tags_only:
        notes.append(f"{counted(tags_only, 'transcript')} of tags alone, taken as missing")
    if twice:
        notes.append(
            f"{counted(len(twice), 'row')} left out as repeating an id ({examples(twice)})"
        )
    return notes


def _filled(path: Path | None) -> str | None:
    """Returns the path of a recording that holds anything: some files of the corpora are empty."""
    return str(path) if path is not None and os.path.getsize(path) > 0 else None


def finish(
    records: list[dict[str, Any]], spelling: Spelling, votes: str
) -> tuple[pd.DataFrame, list[str]]:
    """Returns the table of the records and notes on labels and splits."""
    if votes == "none":
        records = [record | {"votes": None} for record in records]
    table = to_table(records)
    counts: Counter[str] = Counter(label for label in table["label"] if isinstance(label, str))
    ties = {label: counts.pop(label) for label in list(counts) if ";" in label}
    without = len(table) - sum(counts.values()) - sum(ties.values())
    speakers, sessions = (len(set(table[k].dropna().tolist())) for k in ("speaker", "session"))
    notes = [
        f"{counted(len(table), 'utterance')} of {counted(speakers, 'speaker')} in "
        f"{counted(sessions, 'session')}; labels: {tally(counts)}"
    ]
    if ties:
        notes.append(
            f"{counted(sum(ties.values()), 'label', 'is a tie', 'are ties')} of equally many "
            "raters, kept as 'a;b'; data.ties says what becomes of them"
        )
    if without:
        notes.append(f"{counted(without, 'utterance', 'has', 'have')} no label")
    notes += spelling.notes()
    notes.append(
        "two speakers share a session, and short answers repeat everywhere: split with "
        "data.group=session 'data.allow_leaks=[text]'"
    )
    return table, notes
