"""MELD: dialogues from the series Friends, official split in three files of sentences.

train|dev|test_sent_emo.csv; dia<D>_utt<U>.mp4 (or sound of that name) in train_splits,
dev_splits_complete and output_repeated_splits_test. https://github.com/declare-lab/MELD
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ManifestError
from ..wording import counted
from .files import SOUNDS, Tree, best, examples, one_of, tally, to_table

if TYPE_CHECKING:
    import pandas as pd

LABELS = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")
MEDIA = (*SOUNDS, ".mp4")
FOLDER = {  # words in the folders of the three parts; the test's own name wins over 'train'
    "test": ("test",),
    "dev": ("dev", "val"),
    "train": ("train",),
}
# MELD keeps quotes and dashes as Windows-1252 bytes that were read as Latin-1.
QUOTES = {code: bytes([code]).decode("cp1252") for code in (0x85, *range(0x91, 0x98))}


@dataclass
class _OmittedSentences:
    """What was left out or has no label, and why."""

    twice: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    strange: Counter[str] = field(default_factory=Counter)  # words that name no emotion


def read_meld(tree: Tree, *, missing: str = "keep") -> tuple[pd.DataFrame, list[str]]:
    """Returns the table of MELD with its official split, and notes.

    `missing` says what becomes of sentences without sound, where there is any: keep (text alone)
    or drop.
    """
    one_of("missing", missing, ("keep", "drop"))
    found = tree.matching(r"(train|dev|val|test)_sent_emo.*\.csv")
    if not found:
        raise ManifestError(
            f"{tree.folder}: no train_sent_emo.csv, dev_sent_emo.csv or test_sent_emo.csv beneath "
            "it; give the folder of MELD"
        )
    sounds, left = _sounds(tree), _OmittedSentences()
    records: dict[str, dict[str, Any]] = {}
    for path, match in found:
        split = {"val": "dev"}.get(match[1].lower(), match[1].lower())
        for row in tree.records(path):
            dialogue, turn = row.get("dialogueid", ""), row.get("utteranceid", "")
            name = f"{split}_dia{dialogue}_utt{turn}"
            if not dialogue or not turn or name in records:
                left.twice.append(name)
                continue
            sound = sounds.get((split, f"dia{dialogue}_utt{turn}"))
            if sound is None:
                left.silent.append(name)
                if sounds and missing == "drop":
                    continue
            records[name] = _record(name, row, split, sound, left)
    table = to_table(list(records.values()))
    return table, _notes(table, left, bool(sounds), missing)


def _record(
    name: str, row: dict[str, str], split: str, sound: Path | None, left: _OmittedSentences
) -> dict[str, Any]:
    label = row.get("emotion", "").lower()
    if label not in LABELS:
        left.strange[label] += 1
    text = " ".join(row.get("utterance", "").translate(QUOTES).split())
    return {
        "id": name,
        "audio": str(sound) if sound else None,
        "text": text or None,
        "label": label if label in LABELS else None,
        "speaker": row.get("speaker") or None,
        "dialogue": name.rpartition("_")[0],
        "split": split,
        "language": "en",
        "sentiment": row.get("sentiment") or None,
        "season": row.get("season") or None,
        "episode": row.get("episode") or None,
    }


def _notes(
    table: pd.DataFrame, left: _OmittedSentences, has_sounds: bool, missing: str
) -> list[str]:
    parts = tally(Counter(table["split"].tolist()))
    labels = tally(Counter(table["label"].dropna().tolist()))
    notes = [f"{counted(len(table), 'utterance')} ({parts}); labels: {labels}"]
    if left.twice:
        notes.append(
            f"{counted(len(left.twice), 'row')} left out as repeating a dialogue's utterance"
        )
    if left.strange:
        notes.append(f"unknown emotions count as no label: {tally(left.strange)}")
    if not has_sounds:
        notes.append("no sound beneath the folder: texts alone")
    elif left.silent:
        done = "dropped" if missing == "drop" else "kept for the text alone"
        notes.append(
            f"{counted(len(left.silent), 'utterance')} without sound {done} "
            f"({examples(left.silent)})"
        )
    notes.append(
        "the official split shares speakers and short sentences: use it with data.group=dialogue "
        "'data.allow_leaks=[speaker,text]'"
    )
    return notes


def _sounds(tree: Tree) -> dict[tuple[str, str], Path]:
    """Returns {(split, dia0_utt0): file}: the names repeat, so the folder says the split."""
    named = []
    for path in tree.files:
        folders = "/".join(path.relative_to(tree.folder).parts[:-1]).lower()
        split = next((s for s, words in FOLDER.items() if any(w in folders for w in words)), None)
        if split is not None:
            named.append(((split, path.stem.lower().removeprefix("final_videos_test")), path))
    return best(named, MEDIA)
