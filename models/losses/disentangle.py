"""Losses that keep private and shared vectors apart and shared ones alike (..., B, D). VMAP."""

from __future__ import annotations

import torch
from torch import Tensor

from .reduce import exact, keep_rows, row_weight, weighted_mean


def difference(x: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
    """Returns Diff: the mean squared entry of X^T Y, 0 where the two are orthogonal.

    Both are centred over the batch and their rows scaled to length 1, the lengths detached
    (domain separation networks, https://arxiv.org/abs/1608.06019). It pushes apart; the mean
    squared error between the two, found in some published code, does the opposite.
    """
    w = row_weight(x[..., 0], weight)
    x, y = _rows(_centred(x, w), w), _rows(_centred(y, w), w)
    return (x.transpose(-1, -2) @ (y * w[..., None])).square().mean((-1, -2))


def moments(x: Tensor, y: Tensor, weight: Tensor | None = None, *, order: int = 3) -> Tensor:
    """Returns CMD, the central moment discrepancy: 0 for equal distributions.

    |E x - E y| + sum_{k=2..order} |E (x - E x)^k - E (y - E y)^k|, Euclidean norms
    (https://arxiv.org/abs/1702.08811, for values within [0, 1] or so).
    """
    w = row_weight(x[..., 0], weight)
    x, y = keep_rows(exact(x), w), keep_rows(exact(y), w)
    mean_x, mean_y = _mean(x, w), _mean(y, w)
    total = _norm(mean_x - mean_y)
    x, y = x - mean_x[..., None, :], y - mean_y[..., None, :]
    for k in range(2, order + 1):
        total = total + _norm(_mean(x**k, w) - _mean(y**k, w))
    return total


def reconstruction(rebuilt: Tensor, original: Tensor, weight: Tensor | None = None) -> Tensor:
    """Returns the weighted mean over rows of the mean squared error over dimensions."""
    w = row_weight(rebuilt[..., 0], weight)
    rebuilt, original = keep_rows(exact(rebuilt), w), keep_rows(exact(original), w)
    return weighted_mean((rebuilt - original).square().mean(-1), w)


def _mean(x: Tensor, w: Tensor) -> Tensor:
    total = w.sum(-1, keepdim=True)
    return (x * w[..., None]).sum(-2) / torch.where(total > 0, total, 1.0)


def _centred(x: Tensor, w: Tensor) -> Tensor:
    x = keep_rows(exact(x), w)
    return x - _mean(x, w)[..., None, :]


def _rows(x: Tensor, w: Tensor) -> Tensor:
    return keep_rows(x / (x.norm(dim=-1, keepdim=True).detach() + 1e-6), w)


def _norm(x: Tensor) -> Tensor:
    # the root's slope at 0 is infinite, and two empty sides meet exactly there
    square = x.square().sum(-1)
    return torch.where(square > 0, torch.where(square > 0, square, 1.0).sqrt(), 0.0)
