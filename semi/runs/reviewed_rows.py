"""Held-out rows that people reviewed: a test set of its own, by what they said."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..data.config import DataConfig
from ..data.manifest import Manifest
from ..data.reviewed import OUT, reviews_of
from ..data.roles import Splits
from ..data.wording import counted, listed
from ..errors import RunError

HELD_OUT = ("dev", "test", "unused")


def reviewed_labels(
    manifest: Manifest, splits: Splits, config: DataConfig, paths: Sequence[str]
) -> tuple[np.ndarray, list[str]]:
    """Returns the class (N,) that people gave to each held-out row, -1 elsewhere, and sentences.

    Rows whose reviewers tie, or mostly call it unsure or bad audio, have none. RunError where none
    has.

    Args:
        manifest: the run's rows.
        splits: their sides; rows that reviews took out of the run are not held out.
        config: the run's section data.
        paths: files of reviews.
    """
    reviewed = reviews_of(manifest, config, paths)
    out = {i for i, use in manifest.reviewed.use.items() if use in OUT} if manifest.reviewed else ()
    label = np.full(len(manifest), -1)
    trained = undecided = drawn = 0
    for i, name in enumerate(manifest.table["id"].tolist()):
        row = reviewed.rows.get(name)
        if row is None:
            continue
        if splits.role[i] not in HELD_OUT or name in out:
            trained += 1
        elif row.label is None:
            undecided += 1
        else:
            label[i] = manifest.classes.index(row.label)
            drawn += any(word.pick == "random" for word in row.words)
    chosen = int((label >= 0).sum())
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
    return label, [*notes, *reviewed.notes]
