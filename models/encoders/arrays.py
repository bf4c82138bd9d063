"""An utterance's array into a vector or frames, once it has been checked."""

from __future__ import annotations

import numpy as np

from ..pooling import combine_layers, masked_moments, vector
from .array_files import ArrayError


def pool_array(array: np.ndarray, *, layers: list[int], combine: str, pooling: str) -> np.ndarray:
    """Returns an utterance's array as float32 (D,), or (L, D) where `combine` is views.

    Without `layers` it is (D,), or (T, D) and pooled over T. With `layers` its first axis is
    layers: (L, D), or (L, T, D) and each layer pooled over T.
    """
    import torch

    stack = _layers_first(array, layers)  # (L, T, D)
    values = torch.from_numpy(np.ascontiguousarray(stack, dtype=np.float32))
    if pooling == "mean_std" and values.shape[1] == 1:
        raise ArrayError("has no frames to take a standard deviation over; set pooling to mean")
    if values.shape[1] == 1:  # one frame is its own mean
        pooled = values[:, 0]  # (L, D)
    else:
        pooled = vector(masked_moments(values, variance=pooling == "mean_std"), pooling)
    return (combine_layers(pooled[None], combine) if layers else pooled)[0].numpy()


def frames_of(array: np.ndarray, *, layers: list[int], combine: str) -> np.ndarray:
    """Returns an utterance's frames as float32 (T, D), or (T, L, D) where `combine` is views."""
    import torch

    stack = torch.from_numpy(np.ascontiguousarray(_layers_first(array, layers), dtype=np.float32))
    if not layers:
        return stack[0].numpy()
    return combine_layers(stack.transpose(0, 1), combine).numpy()


def _layers_first(array: np.ndarray, layers: list[int]) -> np.ndarray:
    """Returns the array as (L, T, D), checked."""
    if array.dtype.kind not in "fiu":
        raise ArrayError(f"holds {array.dtype}, not numbers")
    if array.size == 0:
        raise ArrayError(f"is empty, shape {array.shape}")
    if not np.isfinite(array).all():
        raise ArrayError("contains NaN or infinity")
    if layers:
        if array.ndim not in (2, 3):
            raise ArrayError(f"has shape {array.shape}; with layers set, (L, D) or (L, T, D)")
        if not all(-len(array) <= layer < len(array) for layer in layers):
            raise ArrayError(f"has layers 0 to {len(array) - 1}, asked were {layers}")
        array = array[layers]
        return array[:, None] if array.ndim == 2 else array
    if array.ndim not in (1, 2):
        raise ArrayError(f"has shape {array.shape}; (D,) or (T, D) is expected without layers")
    return array[None, None] if array.ndim == 1 else array[None]
