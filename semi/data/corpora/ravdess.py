"""RAVDESS: 24 actors say or sing two sentences; all is in the name, e.g. 03-01-06-01-02-01-12.wav.

Modality, channel, emotion, intensity, statement, repetition, actor. zenodo.org/records/1188976
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ManifestError
from ..wording import counted
from .files import FILMS, SOUNDS, Tree, examples, misnamed, one_of, tally, to_table

if TYPE_CHECKING:
    import pandas as pd

NAME = re.compile(r"(?:.*_)?(0[1-3])-(0[12])-(0[1-8])-(0[12])-(0[12])-(0[12])-(\d\d)")
EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
STATEMENTS = ("Kids are talking by the door.", "Dogs are sitting by the door.")
CHANNELS = ("speech", "song")
SAME_TEXT = (
    "two sentences are said by all: the same text stands on both sides of any split "
    "('data.allow_leaks=[text]' says that this is known)"
)


def read_ravdess(tree: Tree, *, channel: str = "speech") -> tuple[pd.DataFrame, list[str]]:
    """Returns the table of the sounds of the tree and notes; `channel`: speech, song or all.

    A take counts once: its sound alone (03-...) rather than the sound of its film (01-...), and one
    of copies in two folders.
    """
    one_of("channel", channel, (*CHANNELS, "all"))
    files = [(NAME.fullmatch(stem), path) for stem, path in tree.stems((*SOUNDS, *FILMS)).items()]
    strange = [path.name for match, path in files if match is None]
    named = [(match, path) for match, path in files if match]
    takes: dict[tuple[str, ...], Path] = {}
    mute = films = others = 0
    for match, path in sorted(named, key=lambda pair: pair[0][1], reverse=True):  # 03 before 01
        if match[1] == "02":
            mute += 1
        elif channel not in ("all", CHANNELS[int(match[2]) - 1]):
            others += 1
        elif match.groups()[1:] in takes:
            films += 1
        else:
            takes[match.groups()[1:]] = path
    if not takes:
        raise ManifestError(
            f"{tree.folder}: no RAVDESS file such as 03-01-06-01-02-01-12.wav"
            f"{'' if channel == 'all' else f' of channel {channel}'} beneath it"
        )
    table = to_table(sorted(map(_record, takes.values()), key=lambda record: record["id"].lower()))
    actors = len(set(table["speaker"].tolist()))
    notes = [
        f"{counted(len(table), 'utterance')} of {counted(actors, 'actor')}; labels: "
        f"{tally(Counter(table['label'].tolist()))}"
    ]
    if films:
        notes.append(
            f"{counted(films, 'take', 'is', 'are')} there as sound (03-...) and as the film's "
            "sound (01-...): the first counts, each once"
        )
    if mute:
        notes.append(f"{counted(mute, 'film')} without sound (02-...) left out")
    if others:
        notes.append(
            f"{counted(others, 'sound')} of the other channel left out (channel={channel})"
        )
    if strange:
        notes.append(f"{misnamed(strange)} ({examples(strange)})")
    return table, [*notes, SAME_TEXT]


def _record(path: Path) -> dict[str, Any]:
    """Returns the row of a file, all of which is in its name."""
    match = NAME.fullmatch(path.stem)
    if match is None:
        raise RuntimeError(f"{path.name} was chosen by its name")
    actor = int(match[7])
    return {
        "id": path.stem,
        "audio": str(path),
        "text": STATEMENTS[int(match[5]) - 1],
        "label": EMOTIONS[int(match[3]) - 1],
        "speaker": f"actor{actor:02d}",
        "gender": "m" if actor % 2 else "f",
        "split": None,
        "language": "en",
        "intensity": ("normal", "strong")[int(match[4]) - 1],
        "channel": CHANNELS[int(match[2]) - 1],
    }
