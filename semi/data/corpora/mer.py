"""MER2023, MER2024 and MER2025 as given out, or as MERTools makes them ready.

label-6way.npz, train-label.csv, label-disdim.csv, track1_train_disdim.csv and so on say the roles
(mer_roles.py, with the sources); audio, video, transcripts and features are in mer_inputs.py.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ManifestError
from ..wording import counted
from .emotions import Spelling
from .files import Tree, examples, number, one_of, tally, to_table
from .mer_inputs import TEXTS, declared_tests, features, media, transcripts
from .mer_roles import POOL, TRAIN, Roles, read_roles

if TYPE_CHECKING:
    import pandas as pd

MER = {
    **{name: name for name in ("neutral", "angry", "happy", "sad", "worried", "surprise")},
    **{"anger": "angry", "happiness": "happy", "sadness": "sad", "surprised": "surprise"},
    "worry": "worried",
}
NO_VALENCE = -10  # what MERTools writes where there is none; MER's valence is -5 to 5


@dataclass
class Inputs:
    """What there is of every utterance, by its name."""

    sounds: dict[str, Path]
    texts: dict[str, str]
    arrays: dict[str, dict[str, Path]]  # feature folder -> {name: file}

    def of(self, name: str) -> dict[str, Any]:
        """Returns audio, text and feature columns of one utterance; None where there is none."""
        sound = self.sounds.get(name)
        return {"audio": str(sound) if sound else None, "text": self.texts.get(name)} | {
            folder: str(files[name]) if name in files else None
            for folder, files in self.arrays.items()
        }

    @property
    def names(self) -> set[str]:
        """Every name that has anything."""
        return {
            name for found in (self.sounds, self.texts, *self.arrays.values()) for name in found
        }


def read_mer(
    tree: Tree, *, text: str = "chinese", test_labels: str = "auto", pool: str = "yes",
    tests: str = "held", frames: str = "", missing: str = "refuse",
) -> tuple[pd.DataFrame, list[str]]:  # fmt: skip
    """Returns the table of training rows, tests, candidates and the label-free pool, and notes.

    Column `corpus` says train_corpus, test1_corpus ..., candidates or pool, which is what semi
    submit goes by; `split` holds tests and candidates out, labelled or not. `tests` pool lets the
    unlabelled ones into the pool, as the challenges allow. MERTools fills in 'neutral' where
    a test has no labels: `test_labels` auto drops labels of a test that are all alike, keep and
    drop decide. Tests of which there is no file at all are refused, or dropped (`missing`).
    Features kept as one file a frame are stacked into the folder `frames`.
    """
    one_of("text", text, tuple(TEXTS))
    one_of("test_labels", test_labels, ("auto", "keep", "drop"))
    one_of("pool", pool, ("yes", "no"))
    one_of("tests", tests, ("held", "pool"))
    one_of("missing", missing, ("refuse", "drop"))
    roles, notes = read_roles(tree, test_labels), []
    inputs = Inputs(media(tree), transcripts(tree, text, notes), features(tree, frames, notes))
    _declare(roles, inputs, tree, pool)
    notes += _without_inputs(roles, inputs, missing)
    spelling = Spelling(MER)
    records = _records(roles, inputs, spelling, "en" if text == "english" else "zh")
    _set_sides(records, tests)
    if not records:
        raise ManifestError(
            f"{tree.folder}: no utterance has a sound, a transcript or features; give the folder "
            "that holds the labels, audio and features"
        )
    table = to_table(records)
    notes = [_found(table), *roles.notes, *notes, *spelling.notes(), *_complete(table, inputs)]
    if not inputs.names:
        notes.append("no sound, transcript or features were found: the table holds labels alone")
    notes += _waiting(table, tests)
    if not roles.held:
        notes.append(
            "no test and no candidates are declared: data.test_fraction holds a share out, and "
            "semi submit has nothing to answer; speakers are not known"
        )
    return table, notes


def _declare(roles: Roles, inputs: Inputs, tree: Tree, pool: str) -> None:
    """Adds the tests that folders declare, and the pool of names that nobody declares, in place."""
    given = {name for rows in roles.rows.values() for name in rows}
    for role, names in declared_tests(inputs.sounds, tree).items():
        new = [name for name in names if name not in given]
        if new:
            roles.add(role, {name: {} for name in new}, "its folder")
            roles.notes.append(f"{role}: {counted(len(new), 'name')} from the folder {role[:5]}")
            given |= set(new)
    if pool == "yes":
        roles.rows[POOL] = {name: {} for name in sorted(inputs.names - given)}


def _without_inputs(roles: Roles, inputs: Inputs, missing: str) -> list[str]:
    """Drops rows of which there is nothing, in place; tests only where that is asked for."""
    notes = []
    there = inputs.names
    for role, rows in roles.rows.items() if there else ():
        nothing = [name for name in rows if name not in there]
        if not nothing:
            continue
        note = (
            f"{len(nothing)} of {counted(len(rows), 'row')} of {role} have neither sound, "
            f"transcript nor features ({examples(nothing)})"
        )
        if role in roles.held and missing == "refuse":
            raise ManifestError(
                f"{note}, and a submission must answer every one; complete the "
                "folder, or leave them out with missing=drop"
            )
        roles.rows[role] = {name: row for name, row in rows.items() if name in there}
        notes.append(f"{note} and are dropped")
    return notes


def _records(
    roles: Roles, inputs: Inputs, spelling: Spelling, language: str
) -> list[dict[str, Any]]:
    """Returns one record an utterance: training rows first, then tests, candidates and pool."""
    records = []
    for role in [r for r in (TRAIN, *roles.held, POOL) if r in roles.rows]:
        for name, row in roles.rows[role].items():
            valence = number(str(row.get("val", "")))
            given = inputs.of(name)
            records.append(
                {
                    "id": name,
                    "audio": given.pop("audio"),
                    "text": given.pop("text"),
                    "label": spelling.label(str(row.get("emo") or "")),
                    "valence": float("nan") if valence == NO_VALENCE else valence,
                    "split": None,
                    "language": language,
                    "corpus": role,
                    **given,
                }
            )
    return records


def _set_sides(records: list[dict[str, Any]], tests: str) -> None:
    """Fills in the column split, in place; where no row is held out it stays empty everywhere."""
    held = [
        record["corpus"] not in (TRAIN, POOL) and (tests == "held" or record["label"] is not None)
        for record in records
    ]
    if any(held):
        for record, out in zip(records, held, strict=True):
            train = record["corpus"] == TRAIN
            record["split"] = "test" if out else "train" if train else "unlabeled"


def _waiting(table: pd.DataFrame, tests: str) -> list[str]:
    """Returns a sentence on the tests and candidates that nobody labelled, if there are any."""
    pairs = zip(table["corpus"].tolist(), table["label"].tolist(), strict=True)
    waiting = sum(corpus not in (TRAIN, POOL) and label is None for corpus, label in pairs)
    if not waiting:
        return []
    note = f"without a label, {waiting} of the tests and candidates; semi submit answers them"
    if tests == "pool":
        return [f"{note}, and until then they are in the pool (tests=pool)"]
    pool = POOL in set(table["corpus"].tolist())
    more = (
        ""
        if pool
        else "; there is no other pool for the rounds: tests=pool lets them learn from these"
    )
    return [f"{note}, nothing is learned from them{more}"]


def _found(table: pd.DataFrame) -> str:
    counts = Counter(label for label in table["label"] if isinstance(label, str))
    parts = tally(Counter(table["corpus"].tolist()))
    return f"{counted(len(table), 'utterance')} ({parts}); labels: {tally(counts)}"


def _complete(table: pd.DataFrame, inputs: Inputs) -> list[str]:
    """Returns how many utterances have each kind of input."""
    notes = [
        f"{column}: {sum(map(bool, table[column].tolist()))} of {counted(len(table), 'utterance')}"
        for column in ("audio", "text")
    ]
    for name in inputs.arrays:
        lacking = table["id"][table[name].isna()].tolist()
        short = f", without it {examples(lacking)}" if lacking else ""
        notes.append(f"features {name}: {len(table) - len(lacking)} of {len(table)}{short}")
    return notes
