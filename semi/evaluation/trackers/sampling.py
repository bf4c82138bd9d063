"""What is shown of many rows: a draw of fixed size, the same each time, and how many it is of."""

from __future__ import annotations

import numpy as np


def sample(rows: int, most: int) -> np.ndarray:
    """Returns the places of at most `most` of so many rows, ascending; a fixed draw of more."""
    if rows <= most:
        return np.arange(rows)
    return np.sort(np.random.default_rng(0).choice(rows, most, replace=False))


def drawn_of(shown: int, rows: int, what: str = "row") -> str:
    """Returns what a card says of a draw, or '' where all rows are shown."""
    return f"{shown:,} of {rows:,} {what}s, drawn at random" if shown < rows else ""
