"""How sounds travel to the device: in one transfer, in 16 bits where that loses nothing.

Sound of 16 bits (PCM wav, FLAC) is whole numbers over 32768 in float32, so int16 says it exactly in
half the bytes; any other sound (resampled, mixed down, decoded from mp3) travels as float32. Either
way the device works on the same float32 numbers. Letters: S samples, P pieces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from .padding import cut_long, normalized

FULL_SCALE = 32_768.0


@dataclass
class Piece:
    """A part of an utterance, and how the whole utterance is scaled on the device."""

    samples: np.ndarray  # (S,) float32, or int16: 32768 times what it stands for
    scale: tuple[float, float] | None = None  # what is subtracted, then divided by


def as_pcm(wave: np.ndarray) -> np.ndarray:
    """Returns a float32 wave (S,) as int16 where that is exact, else the wave itself."""
    scaled = wave * np.float32(FULL_SCALE)  # exact: only the exponent changes
    if not len(wave) or not -FULL_SCALE <= scaled.min() <= scaled.max() < FULL_SCALE:
        return wave
    whole = scaled.astype(np.int16)
    return whole if np.array_equal(whole, scaled) else wave


def as_float(samples: np.ndarray) -> np.ndarray:
    """Returns samples (S,) as float32, int16 divided by 32768."""
    if samples.dtype == np.int16:
        return samples.astype(np.float32) / np.float32(FULL_SCALE)
    return np.asarray(samples, np.float32)


def cut(samples: np.ndarray, longest: int, epsilon: float | None) -> list[Piece]:
    """Returns an utterance (S,) in pieces of at most `longest` samples, cut at quiet points.

    With `epsilon` the whole utterance is to have mean 0 and variance 1, epsilon being added to the
    variance: `normalized`, computed on the device.
    """
    scale, heard = None, as_float(samples)
    if epsilon is not None:
        scale = (float(heard.mean()), float(np.sqrt(heard.var() + epsilon)))
    if len(samples) <= longest:
        return [Piece(samples, scale)]
    lengths = [len(p) for p in cut_long(normalized(heard, epsilon) if epsilon else heard, longest)]
    bounds = np.cumsum(lengths)[:-1]
    return [Piece(part, scale) for part in np.split(samples, bounds)]


def upload(pieces: list[Piece], device: torch.device) -> list[torch.Tensor]:
    """Returns the waves (S,) in float32 on the device, scaled; nothing waits for the transfer."""
    samples = [piece.samples for piece in pieces]
    if len({part.dtype for part in samples}) > 1:
        samples = [as_float(part) for part in samples]
    if device.type == "cpu":
        waves = [torch.from_numpy(as_float(part)) for part in samples]
    else:
        joined = _sent(torch.from_numpy(np.concatenate(samples)), device)
        joined = joined / FULL_SCALE if joined.dtype == torch.int16 else joined
        waves = list(joined.split([len(part) for part in samples]))
    scales = [piece.scale for piece in pieces if piece.scale is not None]
    if not scales:
        return waves
    # Divisors are tensors: by a number CUDA would multiply with its reciprocal, which rounds twice.
    table = _sent(torch.tensor(scales, dtype=torch.float32), device)  # (P, 2)
    return [(wave - mean) / by for wave, (mean, by) in zip(waves, table, strict=True)]


def _sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Returns the tensor on the device, from pinned memory where that makes the copy its own."""
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
