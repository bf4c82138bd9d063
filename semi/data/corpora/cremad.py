"""CREMA-D: 91 actors say twelve sentences in six emotions, heard and seen by 2443 raters.

AudioWAV/1001_DFA_ANG_XX.wav is actor 1001, sentence DFA, anger, level XX; VideoDemographics.csv;
finishedResponses.csv (a rater a row: clipName, queryType 1 voice, 2 face, 3 both, respEmo),
processedResults/tabulatedVotes.csv (rows keyed 100000 * queryType + clip), summaryTable.csv.
github.com/CheyneyComputerScience/CREMA-D, README.md
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ...errors import ManifestError
from ..wording import counted
from .account import summary
from .emotions import add_votes, winners
from .files import SOUNDS, Tree, examples, misnamed, number, one_of, to_table

if TYPE_CHECKING:
    import pandas as pd

NAME = re.compile(r"(\d{4})_([A-Z]{3})_(ANG|DIS|FEA|HAP|NEU|SAD)_(LO|MD|HI|XX?)", re.IGNORECASE)
EMOTIONS = {"ANG": "angry", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral",
            "SAD": "sad"}  # fmt: skip
LETTERS = {name[0]: emotion for name, emotion in EMOTIONS.items()}  # as the raters' answers
LEVELS = {"LO": "low", "MD": "medium", "HI": "high"}  # XX: not specified
SENTENCES = {
    "DFA": "Don't forget a jacket.",
    "IEO": "It's eleven o'clock.",
    "IOM": "I'm on my way to the meeting.",
    "ITH": "I think I have a doctor's appointment.",
    "ITS": "I think I've seen this before.",
    "IWL": "I would like a new alarm clock.",
    "IWW": "I wonder what this is about.",
    "MTI": "Maybe tomorrow it will be cold.",
    "TAI": "The airplane is almost full.",
    "TIE": "That is exactly what happened.",
    "TSI": "The surface is slick.",
    "WSI": "We'll stop in a couple of minutes.",
}
VIEWS = {"voice": 1, "face": 2, "both": 3}  # what the raters were given
SUMMARY = {"voice": "voicevote", "face": "facevote", "both": "multimodalvote"}
Votes = dict[str, dict[str, float]]  # clip in upper case -> {emotion: raters}


def read_cremad(
    tree: Tree, *, label: str = "acted", votes: str = "voice"
) -> tuple[pd.DataFrame, list[str]]:
    """Returns the table of CREMA-D and notes.

    `label`: acted (what the actor was asked for) or voted (what most raters named). `votes`: of the
    raters who heard the voice, saw the face or had both; none leaves them out.
    """
    one_of("label", label, ("acted", "voted"))
    one_of("votes", votes, (*VIEWS, "none"))
    rated, source = _votes(tree, votes if votes != "none" else "voice")
    if label == "voted" and not rated:
        raise ManifestError(
            f"{tree.folder}: label=voted, but no finishedResponses.csv, tabulatedVotes.csv or "
            "summaryTable.csv is beneath it; put one there, or use label=acted"
        )
    actors = _actors(tree)
    records, strange = [], []
    for path in sorted(tree.stems(SOUNDS).values(), key=lambda p: p.stem):
        match = NAME.fullmatch(path.stem)
        if match is None:
            strange.append(path.name)
            continue
        counts = rated.get(path.stem.upper())
        acted = EMOTIONS[match[3].upper()]
        record: dict[str, Any] = {
            "id": path.stem, "audio": str(path), "text": SENTENCES.get(match[2].upper()),
            "label": acted if label == "acted" else winners(counts or {}),
            "votes": counts if votes != "none" else None, "speaker": match[1],
            **actors.get(match[1], {}), "split": None, "language": "en", "acted": acted,
            "intensity": LEVELS.get(match[4].upper()),
        }  # fmt: skip
        records.append(record)
    if not records:
        raise ManifestError(
            f"{tree.folder}: no CREMA-D sound such as AudioWAV/1001_DFA_ANG_XX.wav beneath it"
        )
    table = to_table(records)
    return table, _notes(table, label, votes, rated, source, strange)


def _notes(
    table: pd.DataFrame, label: str, votes: str, rated: Votes, source: str, strange: list[str]
) -> list[str]:
    notes = [f"{summary(table)} ({label})"]
    if rated:
        have = sum(name.upper() in rated for name in table["id"].tolist())
        kind = "voice" if votes == "none" else votes
        notes.append(
            f"votes on {kind} of {have} of {counted(len(table), 'utterance')} from {source}"
        )
    else:
        notes.append("no table of the raters' answers beneath the folder: no votes")
    if strange:
        notes.append(f"{misnamed(strange)} ({examples(strange)})")
    notes.append(
        "twelve sentences are said by all: the same text stands on both sides of any speaker split "
        "('data.allow_leaks=[text]')"
    )
    return notes


def _votes(tree: Tree, view: str) -> tuple[Votes, str]:
    """Returns the votes of one view by clip, and the file they are from; the finest file there."""
    rated: Votes = {}
    for path, _ in tree.matching(r"finishedResponses\.csv"):
        for row in tree.records(path):
            emotion = LETTERS.get(row.get("respemo", ""))
            if emotion and number(row.get("querytype")) == VIEWS[view]:
                add_votes(rated.setdefault(row.get("clipname", "").upper(), {}), [emotion])
        if rated:
            return rated, path.name
    for path, _ in tree.matching(r"tabulatedVotes\.csv"):
        for row in tree.records(path):
            if number(row.get("")) // 100_000 == VIEWS[view]:
                counts = {e: number(row.get(k.lower())) for k, e in LETTERS.items()}
                rated[row.get("filename", "").upper()] = {e: n for e, n in counts.items() if n > 0}
        if rated:
            return rated, path.name
    for path, _ in tree.matching(r"summaryTable\.csv"):
        for row in tree.records(path):
            names = [LETTERS[x] for x in row.get(SUMMARY[view], "").split(":") if x in LETTERS]
            if names:  # the majority alone; several are equally many
                rated[row.get("filename", "").upper()] = dict.fromkeys(names, 1.0)
        if rated:
            return rated, f"{path.name}, the majority alone"
    return rated, ""


def _actors(tree: Tree) -> dict[str, dict[str, Any]]:
    """Returns {actor: gender and age}."""
    found: dict[str, dict[str, Any]] = {}
    for path, _ in tree.matching(r"VideoDemographics\.csv"):
        for row in tree.records(path):
            sex = {"male": "m", "female": "f"}.get(row.get("sex", "").lower())
            found.setdefault(row.get("actorid", ""), {"gender": sex, "age": row.get("age") or None})
    return found
