"""IEMOCAP: ten actors in five sessions, scripted and improvised dialogues.

SessionN/dialog/EmoEvaluation/<dialogue>.txt (labels, raters, dimensions), dialog/transcriptions,
sentences/wav/<dialogue>/<id>.wav. https://sail.usc.edu/iemocap
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ManifestError
from ..wording import counted
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


@dataclass
class _OmittedUtterances:
    """What was left out or has no label, and why."""

    silent: list[str] = field(default_factory=list)  # utterances without a wav
    other: Counter[str] = field(default_factory=Counter)  # labels that `classes` does not take in
    undecided: int = 0  # xxx: the evaluators did not agree


def read_iemocap(
    tree: Tree, *, classes: str = "all", votes: str = "raters"
) -> tuple[pd.DataFrame, list[str]]:
    """Returns the table of IEMOCAP and notes.

    `classes`: all ten, the usual 4 (excited counts as happy) or 6; with 4 and 6 the utterances of
    other labels are dropped.
    """
    one_of("classes", classes, tuple(USUAL))
    one_of("votes", votes, ("raters", "none"))
    spelling, left = Spelling(RATERS), _OmittedUtterances()
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
    spoken, sounds = _spoken(tree), tree.stems(SOUNDS)
    records: dict[str, dict[str, Any]] = {}
    for path in sorted(sheets):
        for row in _evaluations(tree, path, spelling):
            name = row["id"]
            sound = sounds.get(name.lower())
            if sound is None:
                left.silent.append(name)
                continue
            label, kept = _label(row, USUAL[classes], left)
            if classes != "all" and not kept:
                left.other[label or "no agreement"] += 1
                continue
            counts = _kept(row["votes"], USUAL[classes]) if votes == "raters" else {}
            records[name] = _record(row, sound, spoken.get(name), ";".join(kept), counts)
    if not records:
        raise ManifestError(
            f"{tree.folder}: no sound of {counted(len(left.silent), 'utterance')}, e.g. "
            f"{left.silent[0]}.wav"
        )
    table = to_table(list(records.values()))
    return table, _notes(table, left, classes, spelling)


def _label(
    row: dict[str, Any], keep: dict[str, str], left: _OmittedUtterances
) -> tuple[str | None, list[str]]:
    """Returns the label of an evaluation, and what is kept of it: several where evaluators tie."""
    label = CODES.get(row["code"])
    if label is None:
        left.undecided += 1
        label = winners(row["votes"]) if row["votes"] else None
        label = label if label and ";" in label else None
    return label, sorted({keep[part] for part in (label or "").split(";") if part in keep})


def _record(
    row: dict[str, Any], sound: Path, text: str | None, label: str, counts: dict[str, float]
) -> dict[str, Any]:
    name = row["id"]
    dialogue, _, turn = name.rpartition("_")
    return {
        "id": name,
        "audio": str(sound),
        "text": text,
        "label": label or None,
        "votes": counts or None,
        "valence": row["valence"],
        "arousal": row["arousal"],
        "dominance": row["dominance"],
        "speaker": f"{name[:5]}{turn[0]}",
        "gender": turn[0].lower(),
        "session": name[:5],
        "dialogue": dialogue,
        "split": None,
        "language": "en",
    }


def _notes(
    table: pd.DataFrame, left: _OmittedUtterances, classes: str, spelling: Spelling
) -> list[str]:
    labels = table["label"].dropna().tolist()
    counts = Counter(x for x in labels if ";" not in x)
    speakers = len(set(table["speaker"].dropna().tolist()))
    notes = [
        f"{counted(len(table), 'utterance')} of {counted(speakers, 'speaker')}; labels: "
        f"{tally(counts)}"
    ]
    if left.undecided:
        ties = sum(";" in x for x in labels)
        notes.append(
            f"{counted(left.undecided, 'utterance', 'has', 'have')} no agreed label (xxx); {ties} "
            "of those kept are ties 'a;b' of the evaluators, the others unlabelled"
        )
    if left.other:
        dropped = sum(left.other.values())
        notes.append(
            f"classes={classes} drops {counted(dropped, 'other label')}: {tally(left.other)}"
        )
    if left.silent:
        notes.append(
            f"{counted(len(left.silent), 'utterance')} without a wav dropped "
            f"({examples(left.silent)})"
        )
    notes += spelling.notes()
    notes.append("the actors of a session talk to each other: split with data.group=session")
    return notes


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
