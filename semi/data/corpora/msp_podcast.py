"""MSP-Podcast: turns of podcasts, each rated by five people or more, with an official split.

Audios/MSP-PODCAST_0001_0008.wav; Labels/labels_consensus.csv (FileName, EmoClass, EmoAct, EmoVal,
EmoDom, SpkrID, Gender, Split_Set) or the same as .json; labels_detailed.csv, a rater a row;
Transcripts/<name>.txt. ecs.utdallas.edu/research/researchlabs/msp-lab/MSP-Podcast.html
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ManifestError
from ..wording import counted
from .account import summary
from .emotions import add_votes
from .files import SOUNDS, Tree, decode, examples, number, one_of, plain, tally, to_table

if TYPE_CHECKING:
    import pandas as pd

LETTERS = {"A": "angry", "S": "sad", "H": "happy", "U": "surprise", "F": "fear", "D": "disgust",
           "C": "contempt", "N": "neutral", "O": "other"}  # fmt: skip
RATERS = {"angry": "angry", "sad": "sad", "happy": "happy", "surprise": "surprise",
          "fear": "fear", "disgust": "disgust", "contempt": "contempt",
          "neutral": "neutral"}  # fmt: skip
SPLITS = {"train": "train", "development": "dev", "validation": "dev", "test1": "test",
          "test2": "test", "test3": "test", "test": "test"}  # fmt: skip
SHEET = r"labels_con[sc]ensus\.(csv|json)|labels\.(csv|json)"
Rows = list[dict[str, str]]


def read_msp_podcast(
    tree: Tree, *, other: str = "unlabelled", votes: str = "raters", missing: str = "drop"
) -> tuple[pd.DataFrame, list[str]]:
    """Returns the table of MSP-Podcast with its official split, and notes.

    X (the raters did not agree) is no label. O (they agreed on none of the eight) is none either,
    unless `other` keep makes it one. Unknown speakers are no speaker. `missing` says what becomes
    of turns without sound: drop, or keep where there is a transcript.
    """
    one_of("other", other, ("unlabelled", "keep"))
    one_of("votes", votes, ("raters", "none"))
    one_of("missing", missing, ("drop", "keep"))
    path, rows = _sheet(tree)
    sounds, texts = tree.stems(SOUNDS), tree.stems((".txt",), under="transcripts")
    rated = _votes(tree) if votes == "raters" else {}
    records: dict[str, dict[str, Any]] = {}
    silent, twice = [], []
    for row in rows:
        name = re.sub(r"\.wav$", "", row.get("filename", ""), flags=re.IGNORECASE)
        if not name or name in records:
            twice.append(name)
            continue
        sound, transcript = sounds.get(name.lower()), texts.get(name.lower())
        if sound is None:
            silent.append(name)
            if missing == "drop" or transcript is None:
                continue
        text = " ".join(decode(tree.data(transcript)).split()) if transcript else None
        records[name] = {
            "id": name, "audio": str(sound) if sound else None, "text": text or None,
            **_target(row, other), "votes": rated.get(name.lower()), **_speaker(row),
            "split": SPLITS.get(row.get("splitset", "").lower()), "language": "en",
            "split_set": row.get("splitset") or None,
        }  # fmt: skip
    if not records:
        first = silent[0] if silent else "MSP-PODCAST_0001_0008"
        raise ManifestError(
            f"{tree.folder}: {path.name} has {counted(len(rows), 'row')}, but no sound of any, "
            f"such as Audios/{first}.wav"
        )
    table = to_table(list(records.values()))
    return table, _notes(table, path, rows, silent, twice, missing)


def _sheet(tree: Tree) -> tuple[Path, Rows]:
    """Returns the table of consensus labels and its rows, headers in lower case without blanks."""
    for path, match in tree.matching(SHEET):
        if not match[0].lower().endswith("json"):
            rows = tree.records(path)
        else:
            try:
                given = json.loads(decode(tree.data(path)))
                pairs = [(k, v[0] if isinstance(v, list) else v) for k, v in given.items()]
                rows = [{"filename": k, **{plain(n): str(x) for n, x in v.items()}}
                        for k, v in pairs]  # fmt: skip
            except (ValueError, AttributeError, IndexError) as error:
                raise ManifestError(
                    f"{path}: not a JSON of labels by file name ({error}); put the original there"
                ) from None
        if rows and "filename" in rows[0] and {"emoclass", "emoclassmajor"} & set(rows[0]):
            return path, rows
    raise ManifestError(
        f"{tree.folder}: no Labels/labels_consensus.csv or .json with FileName and EmoClass "
        "beneath it; give the folder of MSP-Podcast"
    )


def _target(row: dict[str, str], other: str) -> dict[str, Any]:
    code = (row.get("emoclass") or row.get("emoclassmajor") or "").strip()
    label = LETTERS.get(code.upper(), RATERS.get(code.lower()))
    return {
        "label": None if label == "other" and other == "unlabelled" else label,
        "emo_class": code or None,
        **{name: number(row.get(key)) for name, key in
           (("valence", "emoval"), ("arousal", "emoact"), ("dominance", "emodom"))},
    }  # fmt: skip


def _speaker(row: dict[str, str]) -> dict[str, Any]:
    given = row.get("spkrid", "").strip()
    known = given.lower() not in ("", "unknown", "unk", "nan", "none")
    return {
        "speaker": given if known else None,
        "gender": {"male": "m", "female": "f"}.get(row.get("gender", "").lower()),
    }


def _votes(tree: Tree) -> dict[str, dict[str, float]]:
    """Returns {name: {emotion: raters}} of labels_detailed.csv; answers of their own are left out.

    The raters' choice is the column EmoClass_Major, or the second part of EmoDetail.
    """
    rated: dict[str, dict[str, float]] = {}
    for path, _ in tree.matching(r"labels_detailed\.csv"):
        for row in tree.records(path):
            parts = row.get("emodetail", "").split(";")
            choice = row.get("emoclassmajor") or (parts[1] if len(parts) > 1 else "")
            name = re.sub(r"\.wav$", "", row.get("filename", ""), flags=re.IGNORECASE).lower()
            if emotion := RATERS.get(choice.strip().lower()):
                add_votes(rated.setdefault(name, {}), [emotion])
    return rated


def _notes(
    table: pd.DataFrame, path: Path, rows: Rows, silent: list[str], twice: list[str], missing: str
) -> list[str]:
    sets = Counter(x or "none" for x in table["split_set"].tolist())
    notes = [
        summary(table),
        f"{path.name}: {counted(len(rows), 'row')}; split sets of those read: {tally(sets)}",
    ]
    codes = Counter(table["emo_class"].tolist())
    if codes["X"] or codes["O"]:
        kept = "other" in table["label"].tolist()
        notes.append(
            f"no agreement (X) on {counted(codes['X'], 'turn')}, without a label; other (O) on "
            f"{codes['O']}, " + ("labelled other" if kept else "no label (other=keep makes it one)")
        )
    unknown = sum(speaker is None for speaker in table["speaker"].tolist())
    if unknown:
        notes.append(
            f"{counted(unknown, 'turn')} of an unknown speaker: no speaker, not one and the same"
        )
    if silent:
        done = "dropped" if missing == "drop" else "kept where there is a transcript"
        notes.append(f"{counted(len(silent), 'turn')} without a sound {done} ({examples(silent)})")
    if twice:
        notes.append(f"{counted(len(twice), 'row')} left out as repeating a file or naming none")
    odd = sorted(x for x in sets if x != "none" and x.lower() not in SPLITS)
    if odd:
        notes.append(f"split sets that are none of the corpus's count as none: {examples(odd)}")
    return notes
