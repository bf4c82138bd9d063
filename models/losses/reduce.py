"""What all losses share: weights from masks, means that survive zero rows, unit vectors."""

from __future__ import annotations

import torch
from torch import Tensor


def exact(x: Tensor) -> Tensor:
    """Returns `x` in float32, or as it is if already float32 or float64."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def row_weight(like: Tensor, weight: Tensor | None, valid: Tensor | None = None) -> Tensor:
    """Returns weights (..., B) in the exact dtype of `like` (..., B), 0 where not `valid`."""
    like = exact(like)
    if weight is None and valid is None:
        return like.new_ones(like.shape[-1])
    if weight is None:
        assert valid is not None
        return valid.to(like.dtype)
    weight = weight.to(like.dtype)
    return weight if valid is None else torch.where(valid, weight, 0.0)


def weighted_mean(per_row: Tensor, weight: Tensor) -> Tensor:
    """Returns the weighted mean over the last dimension, exactly 0 where all weights are 0.

    Values of rows with weight 0 never enter, not even as NaN.
    """
    per_row = torch.where(weight > 0, per_row, 0.0)
    total = weight.sum(-1)
    return (per_row * weight).sum(-1) / torch.where(total > 0, total, 1.0)


def keep_rows(x: Tensor, weight: Tensor) -> Tensor:
    """Returns `x` (..., B, D) with rows of weight 0 (..., B) set to 0, so that no NaN spreads."""
    return torch.where((weight > 0)[..., None], x, 0.0)


def unit(x: Tensor) -> Tensor:
    """Returns rows of length 1; a zero row stays zero, with finite gradient."""
    return x * torch.rsqrt((x * x).sum(-1, keepdim=True) + 1e-12)
