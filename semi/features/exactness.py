"""What computing in 16 bits does to the stored vectors, measured on some of them."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ..devices import gpus_of
from ..parallel import EngineConfig, run_cells
from .fill import Hands
from .snapshot import Snapshot
from .sources import RowSource

SAMPLE = 24  # items made again in float32
SHORT = 10.0  # seconds: longer sounds would only cost time


def exactness(
    encoder: Any, source: RowSource, snapshot: Snapshot, at: np.ndarray, hands: Hands
) -> str:
    """Returns a sentence on the centred cosine of stored vectors to float32; '' where none is due.

    Args:
        encoder: that made them; one with an `exact()` twin in float32 can be compared.
        source: what it reads.
        snapshot: of its shelf.
        at: (N,) position of each row of the source, -1 where it has none.
        hands: whose worker on Ray has the GPU, where the encoder is on one.
    """
    from models.encoders.numerics import centred_cosine

    precision = getattr(encoder, "precision", "fp32")
    if precision == "fp32" or not hasattr(encoder, "exact") or snapshot.offsets is not None:
        return ""
    _, rows = np.unique(at, return_index=True)  # equal sounds count once
    rows = rows[at[rows] >= 0]
    if source.kind == "audio":
        rows = rows[snapshot.seconds[at[rows]] <= SHORT]
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, SAMPLE).astype(int))] if len(rows) else rows
    if len(rows) < 3:
        return ""  # centred by their own mean, two vectors are opposite whatever they are
    given, gpus = [source.load(int(row)) for row in rows], gpus_of(encoder.device)
    where = hands.engine if gpus and hands.engine.engine == "ray" else EngineConfig()
    ((_, exact),) = run_cells(where, partial(_alone, encoder.exact()), [given], gpus=gpus)
    stored = snapshot.rows(at[rows])
    cosine = centred_cosine(exact.reshape(len(rows), -1), stored.reshape(len(rows), -1))
    return (
        f"{precision}: centred cosine to fp32 {cosine.mean():.5f} (least {cosine.min():.5f}) on "
        f"{len(rows)} of them"
    )


def _alone(encoder: Any, given: list[Any]) -> np.ndarray:
    """Returns the vectors (n, ...) of n items, each encoded by itself."""
    return np.stack([np.asarray(encoder.encode([item]))[0] for item in given])
