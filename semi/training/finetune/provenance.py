"""Encoders adapted by `semi finetune` carry the list of utterances that they have learned from."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from ...checksums import refuse_changed
from ...config.schema import Config
from ...data.manifest import Manifest
from ...data.roles import Splits
from ...data.wording import counted, shown
from ...errors import ManifestError
from ...formulas import unguarded

ADAPTED_ON = "adapted_on.csv"  # in every adapted folder: the utterances it has learned from


def adapted_on(folder: str | Path) -> set[str]:
    """Returns the ids of the utterances that an adapted encoder has learned from; none if plain."""
    path = Path(folder, ADAPTED_ON)
    if not path.is_file():
        return set()
    refuse_changed(folder, [ADAPTED_ON])
    with open(path, encoding="utf-8", newline="") as file:
        return {unguarded(line[0]) for line in csv.reader(file)} - {"id"}


def encoder_notes(config: Config, manifest: Manifest, splits: Splits) -> list[str]:
    """Returns what must be said of adapted encoders; ManifestError if one has seen dev or test."""
    notes, ids = [], manifest.table["id"].to_numpy().astype(str)
    held = np.isin(splits.role, ("dev", "test"))
    for name in ("speech", "text"):
        folder = getattr(config.encoders, name).model
        learned = adapted_on(folder)
        seen = held & np.isin(ids, list(learned))
        if seen.any():
            raise ManifestError(
                f"the {name} encoder {folder} was adapted on "
                f"{counted(int(seen.sum()), 'utterance')} of the dev or test rows here, e.g. "
                f"{shown(ids[seen][0])}: its scores would be worthless; use the data and seed "
                "settings it was adapted with, or adapt it again"
            )
        if learned & set(ids):
            notes.append(
                f"the {name} encoder was adapted on gold rows of this manifest: out-of-fold scores "
                "flatter it, and so does the gate; test scores do not"
            )
    return notes
