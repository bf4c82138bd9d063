"""IEMOCAP: ten actors in five sessions, scripted and improvised dialogues.

SessionN/dialog/EmoEvaluation/<dialogue>.txt (labels, raters, dimensions), dialog/transcriptions,
sentences/wav/<dialogue>/<id>.wav. https://sail.usc.edu/iemocap
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ManifestError
from .emotions import Spelling, add_votes, winners
from .files import SOUNDS, Tree, decode, examples, number, one_of, tally, to_table

if TYPE_CHECKING:
    import pandas as pd

CODES = {
    **{"neu": "neutral", "ang": "angry", "hap": "happy", "exc": "excited", "sad": "sad"},
    **{"fru": "frustrated", "sur": "surprise", "fea": "fear", "dis": "disgust", "oth": "other"},
}
RATERS = {
    **{"anger": "angry", "happiness": "happy", "excited": "excited", "sadness": "sad"},
    **{"frustration": "frustrated", "surprise": "surprise", "fear": "fear", "disgust": "disgust"},
    **{"neutral": "neutral", "neutral state": "neutral", "other": "other", "excitement": "excited"},
}
SIX = ("neutral", "angry", "happy", "excited", "sad", "frustrated")
USUAL = {  # option -> {label: what it counts as}
    "all": {name: name for name in CODES.values()},
    "4": {name: name for name in SIX[:5]} | {"excited": "happy"},
    "6": {name: name for name in SIX},
}
LINE = re.compile(
    r"\[\s*([\d.]+)\s*-\s*([\d.]+)\s*\]\s+(Ses\d+[FM]_\S+)\s+(\w+)"
    r"(?:\s+\[\s*([\d.]+)\s*,\s*([\d.]+)\s*,\s*([\d.]+)\s*\])?"
)
RATER = re.compile(r"C-E\S*:\s*([^()]*)")  # an evaluator; C-F1 and C-M1 are the actors themselves
SPOKEN = re.compile(r"(Ses\d+[FM]_\w+)\s*(?:\[[^\]]*\])?\s*:\s*(.*)")


def read_iemocap(
    tree: Tree, *, classes: str = "all", votes: str = "raters"
) -> tuple[pd.DataFrame, list[str]]:
    """Returns the table of IEMOCAP and notes.

    `classes`: all ten, the usual 4 (excited counts as happy) or 6; with 4 and 6 the utterances of
    other labels are dropped.
    """
    one_of("classes", classes, tuple(USUAL))
    one_of("votes", votes, ("raters", "none"))
    spelling = Spelling(RATERS)
    sheets = [
        path
        for path, _ in tree.matching(r"Ses\d+[FM]_\w+\.txt")
        if path.parent.name.lower() == "emoevaluation"
    ]
    if not sheets:
        raise ManifestError(
            f"{tree.folder}: no file such as Session1/dialog/EmoEvaluation/Ses01F_impro01.txt "
            "beneath it; give the folder of IEMOCAP"
        )
    spoken = _spoken(tree)
    sounds = tree.stems(SOUNDS)
    keep = USUAL[classes]
    records: dict[str, dict[str, Any]] = {}
    silent, other, undecided = [], Counter(), 0
    for path in sorted(sheets):
        for row in _evaluations(tree, path, spelling):
            name, code, counts = row["id"], row["code"], row["votes"]
            sound = sounds.get(name.lower())
            if sound is None:
                silent.append(name)
                continue
            label = CODES.get(code)
            if label is None:  # xxx: the evaluators did not agree
                undecided += 1
                label = winners(counts) if counts else None
                label = label if label and ";" in label else None
            parts = sorted({keep[p] for p in (label or "").split(";") if p in keep})
            if classes != "all" and not parts:
                other[label or "no agreement"] += 1
                continue
            counts = _kept(counts, keep)
            records[name] = {
                "id": name,
                "audio": str(sound),
                "text": spoken.get(name),
                "label": ";".join(parts) or None,
                "votes": counts if votes == "raters" and counts else None,
                "valence": row["valence"],
                "arousal": row["arousal"],
                "dominance": row["dominance"],
                "speaker": f"{name[:5]}{name.rpartition('_')[2][0]}",
                "gender": name.rpartition("_")[2][0].lower(),
                "session": name[:5],
                "dialogue": name.rpartition("_")[0],
                "split": None,
                "language": "en",
            }
    if not records:
        raise ManifestError(
            f"{tree.folder}: no sound of {len(silent)} utterances, e.g. {silent[0]}.wav"
        )
    table = to_table(list(records.values()))
    counts = Counter(x for x in table["label"].dropna() if ";" not in x)
    notes = [f"{len(table)} utterances of {table['speaker'].nunique()} speakers; labels: "
             f"{tally(counts)}"]  # fmt: skip
    if undecided:
        ties = sum(";" in x for x in table["label"].dropna())
        notes.append(
            f"{undecided} utterances have no agreed label (xxx); {ties} of those kept are ties "
            "'a;b' of the evaluators, the others unlabelled"
        )
    if other:
        notes.append(f"classes={classes} drops {sum(other.values())} others: {tally(other)}")
    if silent:
        notes.append(f"{len(silent)} utterances without a wav are dropped ({examples(silent)})")
    notes += spelling.notes()
    notes.append("the actors of a session talk to each other: split with data.group=session")
    return table, notes


def _evaluations(tree: Tree, path: Path, spelling: Spelling) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for line in decode(tree.data(path)).splitlines():
        if match := LINE.match(line.strip()):
            valence, arousal, dominance = (number(match[i]) for i in (5, 6, 7))
            rows.append(
                {"id": match[3], "code": match[4].lower(), "votes": {}, "valence": valence,
                 "arousal": arousal, "dominance": dominance}
            )  # fmt: skip
        elif rows and (match := RATER.match(line.strip())):
            add_votes(rows[-1]["votes"], spelling.names(match[1]))
    return rows


def _spoken(tree: Tree) -> dict[str, str]:
    spoken: dict[str, str] = {}
    for path, _ in tree.matching(r"Ses\d+[FM]_\w+\.txt"):
        if path.parent.name.lower() != "transcriptions":
            continue
        for line in decode(tree.data(path)).splitlines():
            if match := SPOKEN.match(line.strip()):
                spoken.setdefault(match[1], " ".join(match[2].split()))
    return {name: text for name, text in spoken.items() if text}


def _kept(votes: dict[str, float], keep: dict[str, str]) -> dict[str, float]:
    out: dict[str, float] = {}
    for name, count in votes.items():
        if name in keep:
            out[keep[name]] = out.get(keep[name], 0.0) + count
    return out
