"""KEMDy19: actors play scripted and improvised scenes, two a session, each scene rated twice.

annotation/SessionNN_F_res.csv and SessionNN_M_res.csv list the same utterances: the one rates the
actress, the other the actor, during every segment. An utterance's own label therefore stands in
its speaker's sheet (on real sessions it is predicted far better); the other is the listener's.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ManifestError
from ..wording import counted
from .emotions import Spelling, winners
from .files import SOUNDS, Tree, examples, one_of
from .kemdy import check_options, finish, join_files
from .sheets import SEGMENT, Rating, Sheet, read_sheet, sheet_notes

if TYPE_CHECKING:
    import pandas as pd

RATINGS = ("own", "listener", "merged")


def read_kemdy19(
    tree: Tree,
    *,
    ratings: str = "own",
    tags: str = "keep",
    votes: str = "raters",
    missing: str = "drop",
    biosignals: str = "",
) -> tuple[pd.DataFrame, list[str]]:
    """Returns the table of KEMDy19, each utterance once, and notes.

    `ratings` says whose count: own (the speaker's sheet; listener_* columns hold the other's),
    listener, or merged (the votes of both sheets' twenty raters, their majority the label).
    """
    check_options(tags, votes, missing)
    one_of("ratings", ratings, RATINGS)
    spelling = Spelling()
    found = tree.matching(r"Sess(?:ion)?(\d+)_([FM])_res\.csv")
    if not found:
        raise ManifestError(
            f"{tree.folder}: no rating sheet such as annotation/Session01_F_res.csv beneath it; "
            "give the folder of KEMDy19"
        )
    sheets: dict[tuple[str, str], Sheet] = {}
    for path, match in sorted(found, key=lambda pair: pair[0].name.lower()):
        session = f"Sess{int(match[1]):02d}"
        sheets.setdefault(
            (session, match[2].upper()), read_sheet(tree.rows(path), path, session, spelling)
        )
    records: list[dict[str, Any]] = []
    notes: list[str] = []
    sounds = set(tree.stems(SOUNDS))
    for session in sorted({key[0] for key in sheets}):
        pair = {sex: sheets.get((session, sex)) for sex in "FM"}
        notes += _mend(session, pair, sounds)
        records += _utterances(session, pair, ratings, notes)
    rows, more = join_files(tree, records, tags=tags, missing=missing, signal_stem="recording")
    table, last = finish(rows, spelling, votes)
    notes = [last[0], _meaning(ratings, table), *sheet_notes(list(sheets.values())), *notes]
    notes += [*more, *last[1:]]
    if biosignals:
        from ..biosignals import write_biosignals

        notes += write_biosignals(tree.folder, Path(biosignals), table["id"].tolist())
    return table, notes


def _utterances(
    session: str, pair: dict[str, Sheet | None], ratings: str, notes: list[str]
) -> list[dict[str, Any]]:
    rated = {sex: {r.id: r for r in sheet.ratings} for sex, sheet in pair.items() if sheet}
    ids = dict.fromkeys(name for ratings_of in rated.values() for name in ratings_of)
    records, unrated = [], []
    for name in ids:
        parts = SEGMENT.fullmatch(name)
        sex = parts[3][0].upper() if parts else ""
        if not parts or sex not in "FM":  # a User id: a sheet of the other corpus
            unrated.append(name)
            continue
        both = [rated.get(s, {}).get(name) for s in (sex, "M" if sex == "F" else "F")]
        if ratings != "merged" and both[ratings == "listener"] is None:
            unrated.append(name)
        records.append(
            {
                "id": name,
                **_target(both[0], both[1], ratings),
                "speaker": f"{session}{sex}",
                "gender": sex.lower(),
                "session": session,
                "dialogue": f"{session}_{parts[2]}",
                "split": None,
                "language": "ko",
                "recording": f"{session}{sex}",
            }
        )
    if unrated:
        notes.append(
            f"{session}: {counted(len(unrated), 'utterance', 'is', 'are')} missing in the sheet "
            f"that rates them and stay without a label ({examples(unrated)})"
        )
    return records


def _target(own: Rating | None, other: Rating | None, ratings: str) -> dict[str, Any]:
    """Returns label, votes, valence and arousal of an utterance from its two ratings."""
    if ratings == "merged":
        votes: dict[str, float] = {}
        for rating in (own, other):
            for name, count in (rating.votes if rating else {}).items():
                votes[name] = votes.get(name, 0.0) + count
        values = [(r.valence, r.arousal) for r in (own, other) if r]
        valence, arousal = (_mean(list(column)) for column in zip(*values, strict=True))
        return {
            "label": winners(votes), "votes": votes or None, "valence": valence, "arousal": arousal
        }  # fmt: skip
    target = _of(own if ratings == "own" else other)
    if ratings == "own":
        target |= {f"listener_{k}": v for k, v in _of(other).items() if k != "votes"}
    return target


def _of(rating: Rating | None) -> dict[str, Any]:
    if rating is None:
        return {"label": None, "votes": None, "valence": math.nan, "arousal": math.nan}
    return {
        "label": rating.label, "votes": rating.votes or None,
        "valence": rating.valence, "arousal": rating.arousal,
    }  # fmt: skip


def _mean(values: list[float]) -> float:
    known = [v for v in values if not math.isnan(v)]
    return sum(known) / len(known) if known else math.nan


def _mend(session: str, pair: dict[str, Sheet | None], sounds: set[str]) -> list[str]:
    """Gives rows back their ids, in place, where the two sheets disagree and one is surely wrong.

    Both list the same utterances in the same order (session 3 has a row that differs). The wrong id
    stands twice in its sheet or has no sound, while the other's is missing in that sheet.
    """
    first, second = pair["F"], pair["M"]
    if first is None or second is None:
        gone = "M" if second is None else "F"
        return [f"{session}: no sheet Session{session[4:]}_{gone}_res.csv"]
    if len(first.ratings) != len(second.ratings):
        return [
            f"{session}: the two sheets have {len(first.ratings)} and "
            f"{counted(len(second.ratings), 'row')}; rows go by their ids"
        ]
    notes = []
    for a, b in zip(first.ratings, second.ratings, strict=True):
        if a.id == b.id:
            continue
        for wrong, right, sheet in ((a, b, first), (b, a, second)):
            names = [rating.id for rating in sheet.ratings]
            mute = wrong.id.lower() not in sounds and right.id.lower() in sounds
            if (mute or names.count(wrong.id) > 1) and right.id not in names:
                notes.append(f"{sheet.path.name}: a row called {wrong.id} is {right.id}")
                wrong.id = right.id
                break
        else:
            notes.append(f"{session}: one row is {a.id} in one sheet and {b.id} in the other")
    return notes


def _meaning(ratings: str, table: pd.DataFrame) -> str:
    if ratings == "merged":
        return "labels are the majority of both sheets' raters (ratings=merged)"
    if ratings == "listener":
        return "labels are the listener's state (ratings=listener), not the speaker's"
    pairs = zip(table["label"].tolist(), table["listener_label"].tolist(), strict=True)
    both = [own == other for own, other in pairs if own and other]
    return (
        "labels are those of the speaker's own sheet; the listener's, in listener_label, is the "
        f"same in {sum(both)} of {counted(len(both), 'utterance')}"
    )
