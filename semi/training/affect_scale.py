"""Valence and arousal on one scale in training, on the manifest's own scale everywhere else."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

HEAD, RANGE = "affect_head", "affect_range"


@dataclass
class AffectScale:
    """Mean and deviation of each chain's own training rows."""

    mean: Tensor  # (G, 1, 2)
    std: Tensor  # (G, 1, 2), 1 where nothing varies
    low: Tensor  # (G, 1, 2) smallest value, -inf where none is known
    high: Tensor  # (G, 1, 2) largest value, inf where none is known


def affect_scale(value: Tensor, weight: Tensor) -> AffectScale:
    """Returns the scale of every chain from gold values (G, n, 2), NaN = unknown.

    Rows that a chain holds out, of weight (G, n) 0, play no part.
    """
    known = ~value.isnan() & (weight > 0)[..., None]
    count = known.sum(1, keepdim=True).clamp(min=1)
    mean = torch.where(known, value, 0.0).sum(1, keepdim=True) / count
    square = torch.where(known, value - mean, 0.0).square().sum(1, keepdim=True) / count
    std = square.sqrt()
    low = torch.where(known, value, torch.inf).amin(1, keepdim=True)
    high = torch.where(known, value, -torch.inf).amax(1, keepdim=True)
    some = known.any(1, keepdim=True)
    return AffectScale(
        mean,
        torch.where(std > 1e-6, std, 1.0),
        torch.where(some, low, -torch.inf),
        torch.where(some, high, torch.inf),
    )


def unscale_affect(params: dict[str, Tensor], scale: AffectScale, repeat: int) -> dict[str, Tensor]:
    """Returns the parameters whose affect head answers on the manifest's own scale, within bounds.

    y = std (W h + b) + mean is again a linear layer, so nothing has to be kept beside the model.
    A trained model answers nothing outside of the values that its chain learned from.
    """
    each = (scale.mean, scale.std, scale.low, scale.high)
    mean, std, low, high = (t[:, 0].repeat_interleave(repeat, 0) for t in each)  # (E, 2)
    weight, bias = params[f"{HEAD}.weight"], params[f"{HEAD}.bias"]
    return params | {
        f"{HEAD}.weight": weight * std[..., None],
        f"{HEAD}.bias": bias * std + mean,
        RANGE: torch.stack([low, high], 1),
    }
