"""Reading one array from a file that somebody else made, without running anything in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..pooling import combine_layers, masked_moments, vector

SUFFIXES = (".npy", ".npz", ".safetensors")


class ArrayError(ValueError):
    """The array cannot be used; the message is a reason, to follow the file's name."""


def load_array(path: Path, name: str = "") -> np.ndarray:
    """Returns the array of a .npy, .npz or .safetensors file; of several, the one named `name`."""
    try:
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return arrays[choose(arrays.files, name)]
        if path.suffix == ".safetensors":
            return _load_safetensors(path, name)
    except ArrayError:
        raise
    except FileNotFoundError:
        raise
    except ValueError as error:
        if "allow_pickle" in str(error):
            raise ArrayError(PICKLED) from error
        raise ArrayError(f"cannot be read ({error})") from error
    except Exception as error:
        raise ArrayError(f"cannot be read ({type(error).__name__}: {error})") from error
    raise ArrayError(f"ends in '{path.suffix}'; known are {', '.join(SUFFIXES)}")


PICKLED = (
    "holds Python objects, which are never unpickled; save it again with plain types: "
    "np.asarray(ids, dtype=str), np.asarray(values, dtype=np.float32)"
)


def choose(names: list[str], wanted: str) -> str:
    """Returns which array of a file is meant: the only one, or the wanted one."""
    if len(names) == 1:
        return names[0]
    if wanted in names:
        return wanted
    raise ArrayError(
        f"holds {len(names)} arrays ({', '.join(sorted(names)) or 'none'}) and none is named "
        f"'{wanted}'; keep one of them, or rename it"
    )


def shapes(file: np.lib.npyio.NpzFile) -> dict[str, tuple[int, ...]]:
    """Returns name and shape of a .npz file's arrays from their headers, reading no data."""
    found = {}
    archive: Any = file.zip
    for name in file.files:
        with archive.open(f"{name}.npy") as stream:
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0
            if version != (1, 0):
                read = np.lib.format.read_array_header_2_0
            found[name] = read(stream)[0]
    return found


def _load_safetensors(path: Path, name: str) -> np.ndarray:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:  # "pt", since NumPy knows no bfloat16
        return file.get_tensor(choose(list(file.keys()), name)).float().numpy()


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
    pooled = vector(masked_moments(values, variance=pooling == "mean_std"), pooling)  # (L, D)
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
            raise ArrayError(f"has {len(array)} layers, asked were {layers}")
        array = array[layers]
        return array[:, None] if array.ndim == 2 else array
    if array.ndim not in (1, 2):
        raise ArrayError(f"has shape {array.shape}; (D,) or (T, D) is expected without layers")
    return array[None, None] if array.ndim == 1 else array[None]
