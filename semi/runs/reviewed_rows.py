"""Held-out rows that people reviewed: a test set of its own, by what they said."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..data.config import DataConfig
from ..data.manifest import Manifest
from ..data.reviewed import OUT, RowReview, reviews_of, words_of
from ..data.roles import Splits
from ..data.wording import counted, listed
from ..errors import RunError

HELD_OUT = ("dev", "test", "unused")


def reviewed_truth(
    manifest: Manifest, splits: Splits, config: DataConfig, paths: Sequence[str], *, several: bool
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Returns the held-out rows (n,) that people labelled, their classes (n, C), and sentences.

    Rows whose reviewers tie, or mostly call it unsure or bad audio, are not among them. RunError
    where none is. Classes are 1 or 0.

    Args:
        manifest: the run's rows.
        splits: their sides; rows that reviews took out of the run are not held out.
        config: the run's section data.
        paths: files of reviews.
        several: a row may have several labels: those that most of its reviewers name.
    """
    reviewed = reviews_of(manifest, config, paths)
    out = {i for i, use in manifest.reviewed.use.items() if use in OUT} if manifest.reviewed else ()
    chosen: list[int] = []
    truth: list[list[bool]] = []
    trained = undecided = drawn = 0
    for i, name in enumerate(manifest.table["id"].tolist()):
        row = reviewed.rows.get(name)
        if row is None:
            continue
        if splits.role[i] not in HELD_OUT or name in out:
            trained += 1
        elif not (given := _given(row, several=several)):
            undecided += 1
        else:
            chosen.append(i)
            truth.append([name in given for name in manifest.classes])
            drawn += any(word.pick == "random" for word in row.words)
    if not chosen:
        raise RunError(
            f"{listed(reviewed.files)}: no held-out row has a label of its reviewers "
            f"({trained} of rows that train, {undecided} undecided); review some of them first"
        )
    notes = [
        f"by what people said in {listed(reviewed.files)}; {drawn} of them drawn at random, the "
        "others as somebody came to them, which may flatter or not"
    ]
    if trained or undecided:
        notes.append(
            f"left out: {counted(trained, 'reviewed row')} that trained, {undecided} without a "
            "label that most agree on"
        )
    return np.array(chosen), np.array(truth, dtype=np.float32), [*notes, *reviewed.notes]


def _given(row: RowReview, *, several: bool) -> set[str]:
    """Returns the classes that a row's reviewers come to; none where they come to no one."""
    if not several:
        return set() if row.label is None else {row.label}
    return set(words_of(row.label, row.votes).split(";")) - {""}
