"""How sounds travel to the device: in one transfer, in 16 bits where that loses nothing.

Sound of 16 bits (PCM wav, FLAC) is whole numbers over 32768 in float32, so int16 says it exactly in
half the bytes; any other sound (resampled, mixed down, decoded from mp3) travels as float32. Either
way the device works on the same float32 numbers. Letters: S samples, P pieces.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .padding import cut_long
from .to_device import sent

FULL_SCALE = 32_768.0
BLOCK_SAMPLES = 1 << 20  # samples of a sound on a disk that are read at a time


@dataclass
class Piece:
    """A part of an utterance, and how the whole utterance is scaled on the device."""

    samples: Any  # (S,) float32, or int16: 32768 times what it stands for; may lie on a disk
    scale: tuple[float, float] | None = None  # what is subtracted, then divided by


def as_pcm(wave: np.ndarray) -> np.ndarray:
    """Returns a float32 wave (S,) as int16 where that is exact, else the wave itself."""
    scaled = wave * np.float32(FULL_SCALE)  # exact: only the exponent changes
    if not len(wave) or not -FULL_SCALE <= scaled.min() <= scaled.max() < FULL_SCALE:
        return wave
    whole = scaled.astype(np.int16)
    return whole if np.array_equal(whole, scaled) else wave


def as_float(samples: Any) -> np.ndarray:
    """Returns samples (S,) as float32, int16 divided by 32768."""
    if samples.dtype == np.int16:
        return samples.astype(np.float32) / np.float32(FULL_SCALE)
    return np.asarray(samples, np.float32)


def cut(samples: Any, longest: int, epsilon: float | None) -> list[Piece]:
    """Returns an utterance (S,) in pieces of at most `longest` samples, cut at quiet points.

    A sound whose samples lie on a disk stays there: so do its pieces, until they are sent. With
    `epsilon` the whole utterance is to have mean 0 and variance 1, epsilon being added to the
    variance: `normalized`, computed on the device.
    """
    scale = None if epsilon is None else _scale(samples, epsilon)
    if len(samples) <= longest:
        return [Piece(samples, scale)]

    def to_float(part: Any) -> np.ndarray:
        part = as_float(part)
        return part if scale is None else (part - np.float32(scale[0])) / np.float32(scale[1])

    return [Piece(part, scale) for part in cut_long(samples, longest, to_float=to_float)]


def _scale(samples: Any, epsilon: float) -> tuple[float, float]:
    """Returns the mean of samples (S,) and what they are divided by, as `normalized` does it."""
    if isinstance(samples, np.ndarray):
        wave = as_float(samples)
        return float(wave.mean()), float(np.sqrt(wave.var() + epsilon))
    starts = range(0, len(samples), BLOCK_SAMPLES)  # on a disk: twice through it, block by block
    blocks = (np.asarray(samples[s : s + BLOCK_SAMPLES], np.float64) for s in starts)
    mean = sum(float(block.sum()) for block in blocks) / len(samples)
    blocks = (np.asarray(samples[s : s + BLOCK_SAMPLES], np.float64) for s in starts)
    variance = sum(float(np.square(block - mean).sum()) for block in blocks) / len(samples)
    return mean, math.sqrt(variance + epsilon)


def _side_by_side(samples: list[np.ndarray], device: torch.device) -> torch.Tensor:
    """Returns all samples in one host tensor, for CUDA in page-locked memory from the first."""
    count, dtype = sum(map(len, samples)), torch.from_numpy(samples[0][:0]).dtype
    joined = torch.empty(count, dtype=dtype, pin_memory=device.type == "cuda")
    np.concatenate(samples, out=joined.numpy())
    return joined


def upload(pieces: list[Piece], device: torch.device) -> list[torch.Tensor]:
    """Returns the waves (S,) in float32 on the device, scaled; nothing waits for the transfer."""
    samples = [piece.samples for piece in pieces]
    if len({part.dtype for part in samples}) > 1:
        samples = [as_float(part) for part in samples]
    if device.type == "cpu":
        waves = [torch.from_numpy(as_float(part)) for part in samples]
    else:
        joined = _side_by_side(samples, device).to(device, non_blocking=True)
        joined = joined / FULL_SCALE if joined.dtype == torch.int16 else joined
        waves = list(joined.split([len(part) for part in samples]))
    scales = [piece.scale for piece in pieces if piece.scale is not None]
    if not scales:
        return waves
    # Divisors are tensors: by a number CUDA would multiply with its reciprocal, which rounds twice.
    table = sent(torch.tensor(scales, dtype=torch.float32), device)  # (P, 2)
    return [(wave - mean) / by for wave, (mean, by) in zip(waves, table, strict=True)]
