"""Class folders: angry/001.wav, also train/angry/001.wav; the folder's name is the label.

The layout of torchvision's ImageFolder and of Hugging Face's AudioFolder without metadata
(https://huggingface.co/docs/datasets/audio_dataset#audiofolder).
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from ...errors import ManifestError
from ..checks import SPLIT_ALIASES
from ..corpora.emotions import SPELLINGS
from ..tables import Table
from ..wording import counted
from .cells import INPUT_TABLES, distinct, is_sound, nfc, some, to_table, walk

# Names of folders that say who or when, not which emotion: Actor_01, Session1, spk12.
NOT_A_CLASS = re.compile(
    r"(actor|speaker|spkr?|session|sess?|user|subject|subj|participant|dialog(ue)?|fold|part|disc|cd)"
    r"[ _-]*\d+",
    re.IGNORECASE,
)
PEOPLE = re.compile(
    r"(actor|speaker|spkr?|user|subject|subj|participant)[ _-]*\w+|[fm]\d+|\d{1,4}", re.IGNORECASE
)
KNOWN_EMOTIONS = {
    *SPELLINGS,
    *("calm", "bored", "boredom", "anxiety", "contempt", "excited", "excitement", "frustrated"),
    *("frustration", "ang", "hap", "neu", "exc", "fea", "fru", "dis", "sur", "ps", "positive"),
    *("negative", "pleasant_surprise", "amused", "sleepiness", "other"),
}


def recognises(path: Path) -> bool:
    """Says whether `path` is a folder with sounds somewhere beneath it and no table at its top."""
    if not path.is_dir() or any(p.suffix.lower() in INPUT_TABLES for p in path.iterdir()):
        return False
    return any(is_sound(file) for file in walk(path))


def read(path: Path, root: Path) -> Table:
    """Returns a row for every sound: its id is the relative path, its label the folder's name.

    Raises ManifestError where it cannot be told which folders are the classes.
    """
    files = [file.relative_to(path) for file in walk(path)]
    sounds = [file for file in files if is_sound(file)]
    parts = [[p for p in map(nfc, s.parts[:-1]) if p.lower() not in SPLIT_ALIASES] for s in sounds]
    splits = [_split(sound) for sound in sounds]
    level, names, notes = _class_level(path, sounds, parts, splits)
    apart = [_apart(p, s, level, names) for p, s in zip(parts, splits, strict=True)]
    missing = sum(label is None for label, _ in apart)
    if level is not None and missing:
        notes.append(f"without a label, outside class folders: {counted(missing, 'sound')}")
    named = {(split, label) for split, (label, _) in zip(splits, apart, strict=True) if split}
    if named == {("unlabeled", None)}:  # it holds nothing out: that is still to be drawn
        splits = [None] * len(splits)
    beside = [folder for label, folders in apart if label is not None for folder in folders]
    speakers = bool(beside) and all(PEOPLE.fullmatch(f) for f in beside)
    if speakers:
        notes.append(f"speakers by folder: {some(dict.fromkeys(beside))}")
    records = []
    stems = [nfc(sound.with_suffix("").as_posix()) for sound in sounds]
    ids = distinct(stems, [nfc(sound.as_posix()) for sound in sounds])
    for name, sound, (label, folders), split in zip(ids, sounds, apart, splits, strict=True):
        record = {"id": name, "audio": str((path / sound).absolute()), "label": label}
        if any(splits):
            record["split"] = split
        if level is not None and folders:
            record["folder"] = "/".join(folders)
            if speakers and PEOPLE.fullmatch(folders[-1]):
                record["speaker"] = folders[-1]
        records.append(record)
    if any(splits):
        counts = Counter(split or "no split" for split in splits)
        notes.append("splits by folder: " + ", ".join(f"{n} {s}" for s, n in counts.items()))
    other = [file for file in files if not is_sound(file)]
    other.sort(key=lambda file: file.suffix.lower() not in INPUT_TABLES)  # a table may be meant
    if other:
        notes.append(f"ignored, being no sound: {counted(len(other), 'file')} ({some(other)})")
    return to_table(records, range(1, len(records) + 1), notes)


def _apart(
    folders: list[str], split: str | None, level: int | None, names: list[str]
) -> tuple[str | None, list[str]]:
    """Returns the label of a sound, None where it has none, and the folders beside the class.

    Below a folder that says "unlabelled" the others say who or when, unless one names a class.
    """
    if level is None or len(folders) <= level:
        return None, folders
    name = folders[level]
    if split == "unlabeled" and name not in names and name.lower() not in KNOWN_EMOTIONS:
        return None, folders
    return name, [f for i, f in enumerate(folders) if i != level]


def _split(sound: Path) -> str | None:
    return next(
        (SPLIT_ALIASES[p.lower()] for p in sound.parts[:-1] if p.lower() in SPLIT_ALIASES), None
    )


def _class_level(
    path: Path, sounds: list[Path], parts: list[list[str]], splits: list[str | None]
) -> tuple[int | None, list[str], list[str]]:
    """Returns which folder of each path is the class (None: no classes), its names, and notes.

    Sounds below a folder that says "unlabelled" have no say, as long as there are others.
    """
    both = list(zip(sounds, parts, splits, strict=True))
    labelled = [(s, p) for s, p, split in both if p and split != "unlabeled"]
    labelled = labelled or [(s, p) for s, p, _ in both if p]
    depths = {len(folders) for _, folders in labelled}
    remedy = "give a folder whose own folders are the classes, or a table with id, audio and label"
    if len(depths) > 1:
        few = next(s for s, p in labelled if len(p) == max(depths))
        other = next(s for s, p in labelled if len(p) == min(depths))
        raise ManifestError(
            f"{path}: sounds lie at different depths ({other}; {few}), so which folder is the "
            f"class cannot be told; {remedy}"
        )
    names = [sorted(set(column)) for column in zip(*(p for _, p in labelled), strict=True)]
    several = [i for i, column in enumerate(names) if len(column) > 1]
    several = several or [
        i for i, column in enumerate(names) if column[0].lower() in KNOWN_EMOTIONS
    ]
    if not several:
        count = counted(len(sounds), "sound")
        note = f"read as a folder of {count} without class folders: no row has a label"
        return None, [], [note]
    level = several[0]
    if len(several) > 1:
        spoken = [i for i in several if all(name.lower() in KNOWN_EMOTIONS for name in names[i])]
        if len(spoken) != 1:
            shown = " / ".join(some(names[i], 2) for i in several)
            raise ManifestError(
                f"{path}: sounds lie in folders within folders ({shown}), and which of the two are "
                f"the classes cannot be told; {remedy}"
            )
        level = spoken[0]
    if all(NOT_A_CLASS.fullmatch(name) for name in names[level]):
        raise ManifestError(
            f"{path}: its folders ({some(names[level])}) name speakers, sessions or parts, not "
            f"classes; {remedy}"
        )
    notes = [
        f"read as class folders: {counted(len(sounds), 'sound')}, labels {some(names[level], 12)}"
    ]
    if max(depths) > 1:
        notes.append("the folders above or below the class are carried along in the column folder")
    return level, names[level], notes
