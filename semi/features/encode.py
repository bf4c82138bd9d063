"""A batch through an encoder, item by item where it fails; how much work is given at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import EncoderError, SemiError

if TYPE_CHECKING:
    from models.encoders import Encoder

ITEM_ERRORS = (ValueError, ArithmeticError, IndexError, RuntimeError)  # may be one item's fault


@dataclass
class Kind:
    """How the work on one kind of input is cut, in the unit of its sizes."""

    unit: str
    shard: tuple[float, float]  # smallest and largest shard; many small ones for a small corpus
    batch: float  # given to the encoder at once, unless it names its own budget
    items: int  # at most so many at once


INPUT_KINDS = {
    "audio": Kind("s of sound", (60.0, 600.0), 30.0, 64),
    "text": Kind("characters", (20_000.0, 200_000.0), 10_000.0, 64),
    "array": Kind("bytes", (4e6, 64e6), 16e6, 64),
}


def wants_frames(encoder: Encoder) -> bool:
    """Returns whether an encoder is set to keep every frame instead of one vector."""
    config = getattr(encoder, "config", None)
    return bool(getattr(encoder, "frames", getattr(config, "pooling", "") == "frames"))


def encode(encoder: Encoder, batch: list[Any]) -> list[np.ndarray | str]:
    """Returns for each item its array, or the reason why it has none.

    When a batch fails its items are tried one by one, so that one bad item costs only itself.
    EncoderError where the fault must be the encoder's: then nothing is blamed on the items.
    """
    if not batch:
        return []
    try:
        return _checked(_run(encoder, batch))
    except ITEM_ERRORS as error:
        _raise_if_device(encoder, error)
        if len(batch) == 1:
            return [_reason(error)]
    except Exception as error:
        raise _fault(encoder, error) from error
    results: list[np.ndarray | str] = []
    last: Exception = ValueError()
    for item in batch:
        try:
            results += _checked(_run(encoder, [item]))
        except ITEM_ERRORS as error:
            _raise_if_device(encoder, error)
            results.append(_reason(error))
            last = error
    if isinstance(last, RuntimeError) and all(isinstance(r, str) for r in results):
        raise _fault(encoder, last) from last
    return results


def _reason(error: Exception) -> str:
    if "out of memory" in str(error).lower():
        return "too long for the encoder's memory"
    return f"the encoder refused it: {error}"


def _raise_if_device(encoder: Encoder, error: Exception) -> None:
    if type(error).__name__ == "EncoderUnavailable" or "CUDA error" in str(error):
        raise _fault(encoder, error) from error


def _fault(encoder: Encoder, error: Exception) -> Exception:
    if isinstance(error, SemiError):
        return error
    if type(error).__name__ == "EncoderUnavailable":
        return EncoderError(str(error))
    return EncoderError(
        f"The {encoder.modality} encoder failed ({type(error).__name__}: {error}); this is not the "
        "fault of one utterance, so extraction stopped; finished work is kept"
    )


def _run(encoder: Any, batch: list[Any]) -> list[np.ndarray]:
    if wants_frames(encoder):
        return [np.asarray(frames, np.float32) for frames in encoder.encode_frames(batch)]
    return list(np.asarray(encoder.encode(batch), np.float32))


def _checked(rows: list[np.ndarray]) -> list[np.ndarray | str]:
    bad = "the encoder gave NaN or infinite numbers"
    return [row if np.isfinite(row).all() else bad for row in rows]
