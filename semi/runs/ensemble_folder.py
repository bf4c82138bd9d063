"""The folder of a vote or of held-out parts: what its ensemble.json must hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..shapes import read_shaped

ENSEMBLE = "ensemble.json"
SHAPE = {
    "members": [str],
    "manifest": str,
    "how": str,
    "kind?": str,
    "classes?": [str],
    "rule?": str,
    "seed?": (int, None),
    "model?": str,
    "split_kind?": str,
    "leaks_allowed?": str,
}


def is_ensemble(path: str | Path) -> bool:
    """Says whether a folder is of several runs together."""
    return Path(path, ENSEMBLE).is_file()


def read_ensemble(path: str | Path) -> dict[str, Any]:
    """Returns what a folder's ensemble.json says; FileNotFoundError where there is none."""
    found = read_shaped(Path(path, ENSEMBLE), SHAPE)
    if found is None:
        raise FileNotFoundError(Path(path, ENSEMBLE))
    return found
