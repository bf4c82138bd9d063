"""Berlin Database of Emotional Speech: everything is in the file name, e.g. 03a01Fa.wav.

Speaker 03, sentence a01, emotion F (Freude), version a. http://www.emodb.bilderbar.info
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ...errors import ManifestError
from ..wording import counted
from .emodb_audb import AUDB_TABLES, read_audb
from .files import Tree, misnamed

if TYPE_CHECKING:
    import pandas as pd

NAME = re.compile(r"^(?P<speaker>\d\d)(?P<sentence>[ab]\d\d)(?P<emotion>[WLEAFTN])[a-z]?$")
PREFERRED_SUFFIXES = (
    ".wav",
    ".flac",
    ".opus",
    ".ogg",
    ".mp3",
)  # the first found wins where both are there
EMOTIONS = {
    "W": "anger",  # Wut
    "L": "boredom",  # Langeweile
    "E": "disgust",  # Ekel
    "A": "fear",  # Angst
    "F": "happiness",  # Freude
    "T": "sadness",  # Trauer
    "N": "neutral",
}
SENTENCES = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}
WOMEN = ("08", "09", "13", "14", "16")
UTTERANCES = 535
SAME_TEXT = (
    "ten sentences are read by all speakers: the same text stands on both sides of any speaker "
    "split ('data.allow_leaks=[text]' says that this is known)"
)


def read_emodb(tree: Tree, *, ambiguous: str = "unlabelled") -> tuple[pd.DataFrame, list[str]]:
    """Returns the table of every Emo-DB file of the tree, and notes on what was left out.

    `ambiguous` is for EmoDB 2 as audb hands it out, see emodb_audb.py.
    """
    import pandas as pd

    if tree.matching(AUDB_TABLES):
        table, notes = read_audb(tree, ambiguous, SENTENCES, WOMEN)
        return table, [*notes, SAME_TEXT]
    files = [p for p in tree.files if p.suffix.lower() in PREFERRED_SUFFIXES]
    files.sort(key=lambda p: (PREFERRED_SUFFIXES.index(p.suffix.lower()), str(p)))
    records: dict[str, dict] = {}
    strange = []
    for path in files:
        found = NAME.match(path.stem)
        if found is None:
            strange.append(path.name)
            continue
        speaker, sentence = found["speaker"], found["sentence"]
        if path.stem in records:
            continue
        records[path.stem] = {
            "id": path.stem,
            "audio": str(path),
            "text": SENTENCES.get(sentence),
            "label": EMOTIONS[found["emotion"]],
            "speaker": speaker,
            "sex": "f" if speaker in WOMEN else "m",
            "language": "de",
            "split": None,
        }
    if not records:
        raise ManifestError(
            f"{tree.folder}: no Emo-DB file such as 03a01Fa.wav beneath it; give the folder that "
            "holds the wav files"
        )
    notes = [f"{counted(len(records), 'utterance')} of {UTTERANCES} in the whole corpus"]
    if strange:
        shown = ", ".join(strange[:3])
        notes.append(f"{misnamed(strange, 'audio file')}: {shown}")
    notes.append(SAME_TEXT)
    return pd.DataFrame([records[name] for name in sorted(records)]), notes
