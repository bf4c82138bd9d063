"""What computing in 16 bits does to the stored vectors, measured on some of them."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ..devices import gpus_of
from ..parallel import EngineConfig, run_cells
from .fill import Hands
from .sources import RowSource
from .store import Snapshot

SAMPLE = 24  # items made again in float32
SHORT = 10.0  # seconds: longer sounds would only cost time
FEWEST = 3  # centred by their own mean, two vectors are opposite whatever they are


def exactness(
    encoder: Any, source: RowSource, snapshot: Snapshot, at: np.ndarray, hands: Hands
) -> str:
    """Returns a sentence on the centred cosine of stored vectors to float32; '' where none is due.

    None is of an encoder in 8 bits, which is compared beforehand (eight_bits.py).

    Args:
        encoder: that made them; one with an `exact()` twin in float32 can be compared.
        source: what it reads.
        snapshot: of its shelf.
        at: (N,) position of each row of the source, -1 where it has none.
        hands: whose worker on Ray has the GPU, where the encoder is on one.
    """
    precision = getattr(encoder, "precision", "fp32")
    if precision in ("fp32", "int8") or not hasattr(encoder, "exact"):
        return ""
    if snapshot.offsets is not None:
        return ""
    _, rows = np.unique(at, return_index=True)  # equal sounds count once
    rows = rows[at[rows] >= 0]
    if source.kind == "audio":
        rows = rows[snapshot.seconds[at[rows]] <= SHORT]
    rows = spread(rows, SAMPLE)
    if len(rows) < FEWEST:
        return ""
    given, gpus = [source.load(int(row)) for row in rows], gpus_of(encoder.device)
    where = hands.engine if gpus and hands.engine.engine == "ray" else EngineConfig()
    ((_, exact),) = run_cells(where, partial(_alone, encoder.exact()), [given], gpus=gpus)
    return nearness(precision, exact, snapshot.rows(at[rows]))[1]


def spread(rows: np.ndarray, count: int) -> np.ndarray:
    """Returns at most `count` of the rows, evenly spaced."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, count).astype(int))] if len(rows) else rows


def nearness(precision: str, exact: np.ndarray, other: np.ndarray) -> tuple[float, str]:
    """Returns the mean centred cosine of two sets (n, ...) of vectors, and a sentence of it."""
    from models.encoders.numerics import centred_cosine

    cosine = centred_cosine(exact.reshape(len(exact), -1), other.reshape(len(other), -1))
    return float(cosine.mean()), (
        f"{precision}: centred cosine to fp32 {cosine.mean():.5f} (least {cosine.min():.5f}) on "
        f"{len(cosine)} of them"
    )


def _alone(encoder: Any, given: list[Any]) -> np.ndarray:
    """Returns the vectors (n, ...) of n items, each encoded by itself."""
    return np.stack([np.asarray(encoder.encode([item]))[0] for item in given])
