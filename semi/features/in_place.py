"""Vectors that one file holds for a whole corpus: read where they lie, not copied into the store.

Letters: N rows of a table, D numbers of a vector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..data.audio import Quarantined
from ..errors import StoreError
from .count import Count
from .mapped import MANY, MappedVectors
from .notes import nothing_usable
from .sources import column
from .tensors import Vectors

if TYPE_CHECKING:
    from .sources import Rows

NOT_FINITE = "contains NaN or infinity"


def reads_in_place(encoder: Any) -> bool:
    """Says whether an encoder's vectors are read from its own file, which is their store."""
    return bool(getattr(encoder, "in_place", False))


def find_rows(table: Rows, encoder: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns each row's place in the file (N,) int64, -1 where it has none, and which are usable.

    Args:
        table: of utterances.
        encoder: one that `reads_in_place`.
    """
    at = encoder.corpus.find(np.array(column(table, "id"), dtype=object))
    finite = encoder.corpus.finite
    return at, (at >= 0) & finite[at.clip(min=0)]


def count_rows(table: Rows, encoder: Any) -> tuple[Count, list[Quarantined]]:
    """Returns how many rows the file has and has not, and those that cannot be used, and why."""
    at, usable = find_rows(table, encoder)
    lost = np.flatnonzero((at >= 0) & ~usable)
    path, ids = str(encoder.corpus.path), column(table, "id")
    count = Count(int((at >= 0).sum()), cached=int(usable.sum()), quarantined=len(lost), store=path)
    return count, [Quarantined(str(ids[row]), path, NOT_FINITE) for row in lost]


def read_vectors(name: str, table: Rows, encoder: Any) -> tuple[Vectors, Tensor]:
    """Returns (N, D) float32, zeros where a row has none, and which rows have one (N,) bool.

    Those of many rows stay in the file. StoreError where no row has.
    """
    at, usable = find_rows(table, encoder)
    if not usable.any():
        found = int((at >= 0).sum())
        raise StoreError(nothing_usable(name, "array", found, NOT_FINITE if found else ""))
    corpus, present = encoder.corpus, torch.from_numpy(usable)
    vectors = MappedVectors(corpus.read, at, present, corpus.values.shape[1])
    return (vectors if len(at) >= MANY else vectors[:]), present
