"""Packed frames into one tensor of sequences a modality, NaN where a row has no frame any more."""

from __future__ import annotations

import torch
from torch import Tensor

from .tensors import Features, Frames


def sequences(frames: dict[str, Frames], limit: int) -> Features:
    """Returns (N, T, D) of each modality, T at most `limit`, or (N, D) where no row has more.

    A row of more than `limit` frames is averaged down to `limit` parts of equal length.
    """
    values = {name: _one(packed, limit) for name, packed in frames.items()}
    present = torch.stack([packed.present for packed in frames.values()], 1)
    return Features(values, present, list(frames))


def _one(packed: Frames, limit: int) -> Tensor:
    length = packed.offsets.diff()  # (N,)
    kept = length.clamp(max=limit)
    longest = max(int(kept.max()) if len(kept) else 0, 1)
    owner = packed.owner()
    place = torch.arange(len(owner)) - packed.offsets[owner]
    part = owner * longest + place * kept[owner] // length[owner].clamp(min=1)
    size = len(packed) * longest
    total = packed.values.new_zeros(size, packed.values.shape[1])
    total.index_add_(0, part, packed.values)
    count = torch.bincount(part, minlength=size)[:, None]
    mean = torch.where(count > 0, total / count.clamp(min=1), torch.nan)
    out = mean.view(len(packed), longest, -1)
    return out[:, 0].nan_to_num() if longest == 1 else out
