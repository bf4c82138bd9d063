"""SAVEE: four men of Surrey act seven emotions, in 120 sentences of TIMIT each.

AudioData/DC/a01.wav, or all in one folder as DC_a01.wav: speaker DC, JE, JK or KL; a anger,
d disgust, f fear, h happiness, n neutral, sa sadness, su surprise. The sentences are no part of it.
kahlan.eps.surrey.ac.uk/savee/Database.html
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ManifestError
from .account import summary
from .files import FILMS, SOUNDS, Tree, best, examples, misnamed, to_table

if TYPE_CHECKING:
    import pandas as pd

SPEAKERS = ("DC", "JE", "JK", "KL")
EMOTIONS = {"a": "angry", "d": "disgust", "f": "fear", "h": "happy", "n": "neutral", "sa": "sad",
            "su": "surprise"}  # fmt: skip
NAME = re.compile(r"(?:(DC|JE|JK|KL)_)?(sa|su|[adfhn])(\d\d)", re.IGNORECASE)


def read_savee(tree: Tree) -> tuple[pd.DataFrame, list[str]]:
    """Returns the table of SAVEE and notes; a film counts where an utterance has no sound."""
    media = [path for path in tree.files if path.suffix.lower() in (*SOUNDS, *FILMS)]
    named = [(_name(path), path) for path in media]
    strange = [path.name for name, path in named if name is None]
    found = best(((name, path) for name, path in named if name), (*SOUNDS, *FILMS))
    if not found:
        raise ManifestError(
            f"{tree.folder}: no SAVEE sound such as AudioData/DC/a01.wav or DC_a01.wav beneath it"
        )
    table = to_table(
        [
            {
                "id": f"{speaker}_{code}{number}",
                "audio": str(path),
                "text": None,
                "label": EMOTIONS[code],
                "speaker": speaker,
                "gender": "m",
                "split": None,
                "language": "en",
            }
            for (speaker, code, number), path in sorted(found.items())
        ]
    )
    notes = [summary(table)]
    if strange:
        notes.append(f"{misnamed(strange, 'sound or film')} ({examples(strange)})")
    notes.append("the sentences are not part of the corpus: no text (encoders.text.model=none)")
    return table, notes


def _name(path: Path) -> tuple[str, str, str] | None:
    """Returns speaker, emotion's letters and number; the speaker may be the folder."""
    match = NAME.fullmatch(path.stem)
    if match is None:
        return None
    folders = [part.upper() for part in reversed(path.parts[:-1])]
    speaker = match[1] or next((part for part in folders if part in SPEAKERS), None)
    return (speaker.upper(), match[2].lower(), match[3]) if speaker else None
