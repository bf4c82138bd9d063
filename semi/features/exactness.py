"""What computing in fewer bits does to vectors, measured on some of them.

Letters: n rows that are compared, D numbers of a vector.
"""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np

from ..errors import EncoderError
from .encode import encode, wants_frames
from .sources import RowSource
from .store import Shelf, Snapshot

SAMPLE = 24  # items made again in float32
SHORT = 10.0  # seconds: longer sounds would only cost time
FEWEST = 3  # centred by their own mean, two vectors are opposite whatever they are
LOOKED_AT = 4 * SAMPLE  # rows among which short sounds are looked for


def exactness(encoder: Any, source: RowSource, snapshot: Snapshot, at: np.ndarray) -> str:
    """Returns a sentence on the centred cosine of new vectors in 16 bits to those of float32.

    '' where none is due.

    Args:
        encoder: that made them; one with an `exact()` twin in float32 can be compared.
        source: what it reads.
        snapshot: of its shelf.
        at: (N,) position of each row of the source, -1 where it has none.
    """
    if not _comparable(encoder) or encoder.precision == "int8" or snapshot.offsets is not None:
        return ""
    _, rows = np.unique(at, return_index=True)  # equal sounds count once
    rows = rows[at[rows] >= 0]
    if source.kind == "audio":
        rows = rows[snapshot.seconds[at[rows]] <= SHORT]
    rows = _spread(rows, SAMPLE)
    if len(rows) < FEWEST:
        return ""
    twin = encoder.exact()
    exact = np.stack([np.asarray(twin.encode([source.load(int(row))]))[0] for row in rows])
    return _sentence(encoder.precision, _cosines(exact, snapshot.rows(at[rows])))


def refuse_rough(encoder: Any, source: RowSource, shelf: Shelf, *, keep: bool = True) -> str:
    """Returns that sentence of an encoder in 8 bits before its vectors are stored; '' of others.

    EncoderError where they are too far from those of float32. '' also where fewer than three rows
    can be compared.

    Args:
        encoder: that is to make them.
        source: what it reads.
        shelf: where they go; what it has is not compared again.
        keep: the weights that are read; False: the encoder is sent elsewhere, and without them.
    """
    from models.encoders.int8 import LEAST_COSINE

    if not _comparable(encoder) or encoder.precision != "int8":
        return ""
    keys, rows = source.first_rows()
    rows = _spread(rows[shelf.open().find(keys) < 0], LOOKED_AT)
    if source.kind == "audio":
        rows = rows[np.argsort([source.size(int(row)) for row in rows], kind="stable")]
        short = [row for row in rows if source.size(int(row)) <= SHORT]
        rows = np.array(short) if len(short) >= FEWEST else rows[:FEWEST]
    pairs, both = [], (encoder.exact(), encoder if keep else copy(encoder))
    for row in _spread(rows, SAMPLE):
        pair = [_vector(one, source, int(row)) for one in both]
        if all(vector is not None for vector in pair):
            pairs.append(pair)
    if len(pairs) < FEWEST:
        return ""
    exact, rough = (np.stack(vectors) for vectors in zip(*pairs, strict=True))
    cosines = _cosines(exact, rough)
    sentence = _sentence("int8", cosines)
    if not cosines.mean() >= LEAST_COSINE:
        raise EncoderError(
            f"precision=int8 is too rough for {source.kind}: {sentence}, where {LEAST_COSINE} is "
            "asked for; set precision=bf16 or fp32. Nothing was stored"
        )
    return sentence


def _comparable(encoder: Any) -> bool:
    return getattr(encoder, "precision", "fp32") != "fp32" and hasattr(encoder, "exact")


def _spread(rows: np.ndarray, count: int) -> np.ndarray:
    """Returns at most `count` of the rows, evenly spaced."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, count).astype(int))] if len(rows) else rows


def _vector(encoder: Any, source: RowSource, row: int) -> np.ndarray | None:
    """Returns what an encoder makes of a row (D,), None of one that goes to quarantine."""
    try:
        given = source.load(row)
    except Exception:  # of whatever kind: extraction meets it again, and says it
        return None
    (made,) = encode(encoder, [given])
    if isinstance(made, str):
        return None
    return (made.mean(0) if wants_frames(encoder) else made).ravel()


def _cosines(exact: np.ndarray, rough: np.ndarray) -> np.ndarray:
    """Returns (n,) centred cosines of two sets of n vectors."""
    from models.encoders.numerics import centred_cosine

    return centred_cosine(exact.reshape(len(exact), -1), rough.reshape(len(rough), -1))


def _sentence(precision: str, cosine: np.ndarray) -> str:
    return (
        f"{precision}: centred cosine to fp32 {cosine.mean():.5f} (least {cosine.min():.5f}) on "
        f"{len(cosine)} of them"
    )
