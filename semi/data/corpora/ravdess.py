"""RAVDESS: 24 actors say or sing two sentences; all is in the name, e.g. 03-01-06-01-02-01-12.wav.

Modality, channel, emotion, intensity, statement, repetition, actor. zenodo.org/records/1188976
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from ...errors import ManifestError
from .files import SOUNDS, Tree, examples, one_of, tally, to_table

if TYPE_CHECKING:
    import pandas as pd

NAME = re.compile(r"(?:.*_)?(0[1-3])-(0[12])-(0[1-8])-(0[12])-(0[12])-(0[12])-(\d\d)")
EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
STATEMENTS = ("Kids are talking by the door.", "Dogs are sitting by the door.")
CHANNELS = ("speech", "song")


def read_ravdess(tree: Tree, *, channel: str = "speech") -> tuple[pd.DataFrame, list[str]]:
    """Returns the table of the sounds of the tree and notes; `channel`: speech, song or all.

    Copies of one name in two folders count once.
    """
    one_of("channel", channel, (*CHANNELS, "all"))
    records: dict[str, dict[str, Any]] = {}
    strange, others = [], 0
    for stem, path in sorted(tree.stems(SOUNDS).items()):
        match = NAME.fullmatch(stem)
        if match is None or match[1] == "02":  # 02: film without sound
            strange.append(path.name)
            continue
        if channel not in ("all", CHANNELS[int(match[2]) - 1]):
            others += 1
            continue
        actor = int(match[7])
        records[stem] = {
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
    if not records:
        raise ManifestError(
            f"{tree.folder}: no RAVDESS file such as 03-01-06-01-02-01-12.wav"
            f"{'' if channel == 'all' else f' of channel {channel}'} beneath it"
        )
    table = to_table([records[stem] for stem in sorted(records)])
    notes = [
        f"{len(table)} utterances of {table['speaker'].nunique()} actors; labels: "
        f"{tally(Counter(table['label'].tolist()))}"
    ]
    if others:
        notes.append(f"{others} sounds of the other channel are left out (channel={channel})")
    if strange:
        notes.append(
            f"{len(strange)} sounds do not follow the naming and are left out ({examples(strange)})"
        )
    notes.append(
        "two sentences are said by all: the same text stands on both sides of any split, so "
        "data.allow_leaks=[text] is needed"
    )
    return table, notes
