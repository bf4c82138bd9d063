"""Valence and arousal on one scale in training, on the manifest's own scale everywhere else."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

HEAD = "affect_head"


@dataclass
class AffectScale:
    """Mean and deviation of each chain's own training rows."""

    mean: Tensor  # (G, 1, 2)
    std: Tensor  # (G, 1, 2), 1 where nothing varies


def affect_scale(value: Tensor, weight: Tensor) -> AffectScale:
    """Returns the scale of every chain from gold values (G, n, 2), NaN = unknown.

    Rows that a chain holds out, of weight (G, n) 0, play no part.
    """
    known = ~value.isnan() & (weight > 0)[..., None]
    count = known.sum(1, keepdim=True).clamp(min=1)
    mean = torch.where(known, value, 0.0).sum(1, keepdim=True) / count
    square = torch.where(known, value - mean, 0.0).square().sum(1, keepdim=True) / count
    std = square.sqrt()
    return AffectScale(mean, torch.where(std > 1e-6, std, 1.0))


def unscale_affect(params: dict[str, Tensor], scale: AffectScale, repeat: int) -> dict[str, Tensor]:
    """Returns the parameters whose affect head answers on the manifest's own scale.

    y = std (W h + b) + mean is again a linear layer, so nothing has to be kept beside the model.
    """
    mean, std = (t[:, 0].repeat_interleave(repeat, 0) for t in (scale.mean, scale.std))  # (E, 2)
    weight, bias = params[f"{HEAD}.weight"], params[f"{HEAD}.bias"]
    return params | {
        f"{HEAD}.weight": weight * std[..., None],
        f"{HEAD}.bias": bias * std + mean,
    }
