"""The recommended order: pool rows most worth a word, and among every five one drawn at random.

What is worth looking at is no sample: its error rate says nothing of all pseudo-labels. So one row
in five comes from a draw of the whole pool that is fixed beforehand. It depends on the run's name
and the ids alone, not on what was filtered or judged, and only a row met at its place in this order
counts as random.
"""

from __future__ import annotations

import hashlib

import numpy as np

from .rows import Columns, ReviewTable

EVERY = 5  # one place in so many is a random one
DRAWN = 200  # random rows at most


def recommended(table: ReviewTable) -> tuple[np.ndarray, np.ndarray]:
    """Returns the pool rows in the order to judge them in, and which are random (P,) bool."""
    columns = table.columns
    pool = np.flatnonzero(columns["role"] == "pool")
    drawn = draw(table.name, columns["id"][pool].tolist())
    random = pool[drawn[: min(DRAWN, len(pool) // EVERY)]]
    rest = np.setdiff1d(pool, random)
    rest = rest[_worth(columns, rest)]
    order, is_random = np.empty(len(pool), dtype=np.int64), np.zeros(len(pool), dtype=bool)
    is_random[EVERY - 1 :: EVERY][: len(random)] = True
    order[is_random], order[~is_random] = random, rest
    return order, is_random


def draw(run: str, ids: list[str]) -> np.ndarray:
    """Returns a random order of ids (P,), the same for the same run and ids."""
    keys = [hashlib.sha256(f"{run}\n{name}".encode()).digest()[:8] for name in ids]
    return np.argsort(np.array([int.from_bytes(k, "big") for k in keys], dtype=np.uint64))


def _worth(columns: Columns, rows: np.ndarray) -> np.ndarray:
    """Returns the places of rows, most worth a word first: queue of semi next, then margin."""
    margin = columns["margin"][rows]
    rank = np.full(len(rows), np.nan)
    if "next" in columns:  # its random rows are no more worth than others
        rank = np.where(columns["next_random"][rows], np.nan, columns["next"][rows])
    return np.lexsort((rows, margin, rank))  # unknown ones last
