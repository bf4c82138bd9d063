"""Readers of published corpora: a folder as it was downloaded -> a manifest table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ManifestError, nearest
from .emodb import read_emodb

if TYPE_CHECKING:
    import pandas as pd

# name -> function(folder) returning the table and notes on what was decided; extend it freely
CORPORA: dict[str, Callable[[Path], tuple[pd.DataFrame, list[str]]]] = {"emodb": read_emodb}


def corpus_manifest(name: str, folder: str | Path) -> tuple[pd.DataFrame, list[str]]:
    """Returns the manifest table of the corpus `name` in `folder`, and notes on it."""
    if name not in CORPORA:
        known = ", ".join(sorted(CORPORA))
        raise ManifestError(
            f"unknown corpus '{name}'{nearest(name, CORPORA)}; known are {known}. For other data "
            "write a CSV with the columns id, audio, text, label, speaker"
        )
    root = Path(folder).expanduser().resolve()
    if not root.is_dir():
        raise ManifestError(
            f"{folder}: no such folder; give the folder that holds the {name} files"
        )
    return CORPORA[name](root)


def bundled_emodb() -> Path:
    """Returns the path of the manifest.csv of the Emo-DB copy that comes with the project."""
    path = Path(__file__).resolve().parents[3] / "examples" / "emodb" / "manifest.csv"
    if not path.is_file():
        raise ManifestError(
            f"{path}: the bundled Emo-DB is missing; it comes with a clone of the project's "
            "repository, not with a copy of the packages alone"
        )
    return path
