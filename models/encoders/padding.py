"""Cutting, batching and padding such that a row's numbers never depend on its batch mates.

Letters: B batch, S samples, T frames, D features, P pieces.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from .to_device import before, host_tensor


def length_mask(lengths: list[int], width: int, device: torch.device | str) -> torch.Tensor | None:
    """Returns (B, T) bool, True on valid frames; None where no row is padded (faster kernels)."""
    if all(n == width for n in lengths):
        return None
    return before(host_tensor(lengths, torch.device(device)), width)


def clear_padding(hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Returns `hidden` (B, T, D) with zeros on padding, as a convolution sees a row's own end."""
    return hidden if mask is None else hidden.masked_fill(~mask[..., None], 0.0)


def masked_group_norm(
    x: torch.Tensor, norm: nn.GroupNorm, mask: torch.Tensor | None
) -> torch.Tensor:
    """Returns the one-channel-a-group GroupNorm of `x` (B, D, T) with statistics of valid frames.

    HuBERT-base and wav2vec2-base normalise each channel over time, so zero padding changes every
    frame (pooled cosine down to 0.83) even with an attention mask; over the valid frames only, a
    padded row equals the row alone.
    """
    if mask is None:
        return norm(x)
    valid = mask[:, None].to(torch.float32)  # (B, 1, T)
    share = valid / valid.sum(-1, keepdim=True)
    y = x.float()
    mean = (y * share).sum(-1, keepdim=True)
    y = y - mean
    variance = (y.square() * share).sum(-1, keepdim=True)
    y = y * torch.rsqrt(variance + norm.eps)
    y = y * norm.weight.float()[:, None] + norm.bias.float()[:, None]
    return y.to(x.dtype)


def normalized(wave: np.ndarray, epsilon: float = 1e-7) -> np.ndarray:
    """Returns the utterance (S,) with mean 0 and variance 1, as `do_normalize` does."""
    return ((wave - wave.mean()) / np.sqrt(wave.var() + epsilon)).astype(np.float32)


def cut_long(
    wave: Any,
    longest: int,
    sample_rate: int = 16_000,
    *,
    to_float: Callable[[Any], np.ndarray] = np.asarray,
) -> list[Any]:
    """Returns the wave (S,) in pieces of at most `longest` samples, cut at quiet points.

    Each cut is the quietest 20 ms in the second half of what a piece may hold, so that words are
    rarely split; no piece is shorter than a quarter of `longest`. No overlap: the pieces together
    are the wave. `to_float` makes floats of a part before its loudness is measured.
    """
    hop = sample_rate // 100
    pieces, start = [], 0
    while len(wave) - start > longest:
        low = start + longest // 2
        high = min(start + longest, len(wave) - longest // 4)
        frames = (high - low) // hop
        energy = np.square(to_float(wave[low : low + frames * hop]), dtype=np.float64)
        energy = energy.reshape(frames, hop).sum(1)  # (frames,) of 10 ms each
        quiet = int(np.argmin(energy[:-1] + energy[1:])) + 1
        stop = low + quiet * hop
        pieces.append(wave[start:stop])
        start = stop
    return [*pieces, wave[start:]]


def token_budget(lengths: list[int], budget: int, multiple: int = 1) -> list[list[int]]:
    """Returns batches of indices, longest first, whose padded size stays within `budget`.

    Rows are sorted by length, so little is padded; a row longer than the budget is a batch alone.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    batches: list[list[int]] = []
    widest = 0
    for index in order:
        if batches and widest * (len(batches[-1]) + 1) <= budget:
            batches[-1].append(index)
            continue
        widest = -(-lengths[index] // multiple) * multiple
        batches.append([index])
    return batches


def pad_rows(rows: list[torch.Tensor], multiple: int = 1) -> torch.Tensor:
    """Returns (B, S) or (B, F, S), zeros after each row's end, S a multiple of `multiple`."""
    if len(rows) == 1:
        return rows[0].unsqueeze(0)
    width = max(row.shape[-1] for row in rows)
    width = -(-width // multiple) * multiple
    out = rows[0].new_zeros(len(rows), *rows[0].shape[:-1], width)
    for target, row in zip(out, rows, strict=True):
        target[..., : row.shape[-1]] = row
    return out
