"""Losses for valence and arousal (..., B, K); a target that is NaN is unknown. VMAP."""

from __future__ import annotations

import torch
from torch import Tensor

from .reduce import exact, row_weight, weighted_mean


def ccc(pred: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Returns Lin's concordance per dimension (..., K), 0 where nothing is known.

    2 cov / (var_x + var_y + (mean_x - mean_y)^2), biased moments. A statistic of the batch: over
    few rows it is biased low (4 rows: .66 where the corpus has .81), so use 64 or more.
    """
    return _ccc(pred, target, weight)[0]


def ccc_loss(pred: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Returns the mean of 1 - CCC over the dimensions whose targets vary in this batch."""
    value, usable = _ccc(pred, target, weight)
    return weighted_mean(1 - value, usable.to(value.dtype))


def mse(pred: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Returns the mean over dimensions of the weighted mean squared error over rows."""
    pred, target, w = _columns(pred, target, weight)  # (..., K, B)
    per = weighted_mean((pred - target).square(), w)
    return weighted_mean(per, (w.sum(-1) > 0).to(per.dtype))


def ccc_mse(
    pred: Tensor, target: Tensor, weight: Tensor | None = None, *, mse_weight: float = 0.1
) -> Tensor:
    """Returns (1 - CCC) + mse_weight MSE; the second term fixes the scale early in training."""
    return ccc_loss(pred, target, weight) + mse_weight * mse(pred, target, weight)


def _ccc(pred: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    pred, target, w = _columns(pred, target, weight)  # (..., K, B)
    mean_x, mean_y = weighted_mean(pred, w), weighted_mean(target, w)  # (..., K)
    x, y = pred - mean_x[..., None], target - mean_y[..., None]
    var_x, var_y = weighted_mean(x * x, w), weighted_mean(y * y, w)
    bottom = var_x + var_y + (mean_x - mean_y).square()
    return 2 * weighted_mean(x * y, w) / (bottom + 1e-8), var_y > 1e-6


def _columns(pred: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Predictions, targets and weights as (..., K, B), unknown targets with weight and value 0."""
    pred, target = exact(pred).transpose(-1, -2), exact(target).transpose(-1, -2)
    rows = row_weight(pred[..., 0, :], weight)[..., None, :]
    known = ~target.isnan() & (rows > 0)
    w = torch.where(known, rows, 0.0)
    return torch.where(known, pred, 0.0), torch.where(known, target, 0.0), w
