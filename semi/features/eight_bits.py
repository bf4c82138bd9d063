"""An encoder in 8 bits is compared with float32 before any of its vectors is stored.

How much is lost depends on the encoder: a few numbers that are much larger than the others cost
the others their digits.
"""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np

from ..errors import EncoderError
from .encode import encode, wants_frames
from .exactness import FEWEST, SAMPLE, SHORT, nearness, spread
from .sources import RowSource
from .store import Shelf

LOOKED_AT = 4 * SAMPLE  # rows among which short sounds are looked for


def refuse_rough(encoder: Any, source: RowSource, shelf: Shelf, *, keep: bool = True) -> str:
    """Returns a sentence on the centred cosine to float32 of an encoder in 8 bits; '' of others.

    EncoderError where it is too low. '' also where fewer than three rows can be compared.

    Args:
        encoder: that is to make the vectors.
        source: what it reads.
        shelf: where they go; what it has is not compared again.
        keep: the weights that are read; False: the encoder is sent elsewhere, and without them.
    """
    from models.encoders.int8 import LEAST_COSINE

    if getattr(encoder, "precision", "fp32") != "int8" or not hasattr(encoder, "exact"):
        return ""
    keys, rows = source.first_rows()
    rows = spread(rows[shelf.open().find(keys) < 0], LOOKED_AT)
    if source.kind == "audio":
        rows = _short(source, rows)
    pairs, both = [], (encoder.exact(), encoder if keep else copy(encoder))
    for row in spread(rows, SAMPLE):
        pair = [_vector(one, source, int(row)) for one in both]
        if all(vector is not None for vector in pair):
            pairs.append(pair)
    if len(pairs) < FEWEST:
        return ""
    exact, rough = (np.stack(vectors) for vectors in zip(*pairs, strict=True))
    cosine, sentence = nearness("int8", exact, rough)
    if not cosine >= LEAST_COSINE:
        raise EncoderError(
            f"precision=int8 is too rough for {source.kind}: {sentence}, where {LEAST_COSINE} is "
            "asked for; set precision=bf16 or fp32. Nothing was stored"
        )
    return sentence


def _short(source: RowSource, rows: np.ndarray) -> np.ndarray:
    """Returns the rows of short sounds; where hardly any is, the shortest."""
    seconds = np.array([source.size(int(row)) for row in rows])
    short = rows[seconds <= SHORT]
    return short if len(short) >= FEWEST else rows[np.argsort(seconds, kind="stable")[:FEWEST]]


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
