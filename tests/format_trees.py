"""Sounds of the bundled Emo-DB for the tests of formats: (file, label, speaker) each."""

import shutil
from pathlib import Path

from semi.data.manifest import load_manifest

MANIFEST = Path(__file__).parents[1] / "examples" / "emodb" / "manifest.csv"


def utterances(each=2, labels=("anger", "happiness", "neutral")):
    """Returns `each` rows of every label, of several speakers, as dicts of the manifest's cells."""
    table = load_manifest(MANIFEST).table
    rows = []
    for label in labels:
        part = table[table["label"] == label]
        rows += part.iloc[:: len(part) // each].head(each).to_dict("records")
    return rows


def place(row, path):
    """Copies a row's sound to `path`, making its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(row["audio"], path)
    return path
