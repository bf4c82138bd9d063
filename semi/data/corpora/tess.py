"""TESS, the Toronto emotional speech set: two actresses say 200 words in seven emotions.

OAF_angry/OAF_back_angry.wav: the older (OAF, 64) or younger (YAF, 26) woman, the word of the
carrier sentence, the emotion (ps: pleasant surprise). Some files say OA for OAF, and the archive
that most people have holds the whole tree twice, one in the other. doi.org/10.5683/SP2/E8H2MF
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ...errors import ManifestError
from ..wording import counted
from .account import summary
from .files import SOUNDS, Tree, examples, misnamed, to_table

if TYPE_CHECKING:
    import pandas as pd

EMOTIONS = {
    **{"angry": "angry", "disgust": "disgust", "fear": "fear", "happy": "happy", "sad": "sad"},
    **{"neutral": "neutral", "ps": "surprise", "pleasant_surprise": "surprise"},
    **{"pleasant_surprised": "surprise", "surprise": "surprise"},
}
NAME = re.compile(rf"([OY]A)F?_(.+?)_({'|'.join(EMOTIONS)})", re.IGNORECASE)
AGE = {"OA": "64", "YA": "26"}


def read_tess(tree: Tree) -> tuple[pd.DataFrame, list[str]]:
    """Returns the table of TESS, each recording once, and notes."""
    records, seen, copies, strange = [], set(), 0, []
    for path in tree.files:  # the outer copy comes first
        if path.suffix.lower() not in SOUNDS:
            continue
        match = NAME.fullmatch(path.stem)
        if match is None:
            strange.append(path.name)
            continue
        speaker, word = match[1].upper(), match[2].lower()
        name = f"{speaker}F_{word}_{match[3].lower()}"
        if name in seen:
            copies += 1
            continue
        seen.add(name)
        records.append(
            {
                "id": name,
                "audio": str(path),
                "text": f"Say the word {word}.",
                "label": EMOTIONS[match[3].lower()],
                "speaker": f"{speaker}F",
                "gender": "f",
                "age": AGE[speaker],
                "split": None,
                "language": "en",
            }
        )
    if not records:
        raise ManifestError(
            f"{tree.folder}: no TESS sound such as OAF_angry/OAF_back_angry.wav beneath it"
        )
    table = to_table(sorted(records, key=lambda record: record["id"]))
    notes = [summary(table)]
    if copies:
        notes.append(
            f"{counted(copies, 'sound', 'is', 'are')} there twice, as the tree holds a copy of "
            "itself: once"
        )
    if strange:
        notes.append(f"{misnamed(strange)} ({examples(strange)})")
    notes.append(
        "both say the same 200 words in every emotion: the same text stands on both sides of any "
        "split ('data.allow_leaks=[text]'); two speakers are few: results say little about a third"
    )
    return table, notes
