"""SoftMatch: every row counts, by a truncated Gaussian of its confidence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from ..alignment import running
from ..pool import BELOW, CONSTANT, Pool, Selection, decide, nothing


@dataclass
class SoftMatchConfig:
    """Numbers of the rule softmatch."""

    n_sigma: float = field(default=2.0, metadata=CONSTANT)
    """Rows this many standard deviations below the mean weigh exp(-n_sigma^4 / 2)."""
    momentum: float = field(default=0.97, metadata=CONSTANT)
    """Weight of the past in mean and variance (published: 0.999, over many steps)."""
    unbiased: bool = field(default=True, metadata=CONSTANT)
    """Divide the averages by 1 - momentum ** t; false = start from 1 / C and 1 as published."""
    per_class: bool = field(default=False, metadata=CONSTANT)
    """Mean and variance per predicted class."""

    def __post_init__(self):
        if self.n_sigma <= 0:
            raise ValueError(f"n_sigma must be positive, got {self.n_sigma}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {self.momentum}")


class _Reads(Protocol):
    """What the rule reads of the settings."""

    softmatch: SoftMatchConfig


def softmatch(pool: Pool, config: _Reads) -> Selection:
    """Takes all rows, w = exp(-min(m - mu, 0)^2 / (2 var / n_sigma^2)).

    https://arxiv.org/abs/2301.10921, eq. 6-9. Its uniform alignment is align_gamma = 0; on emotion
    data align_gamma = 0.5 did better (majority classes swallow the rest without any).
    """
    if not len(pool):
        return nothing(pool)
    weight, state = gaussian_weight(pool.probs, pool.state, config.softmatch)
    every = torch.zeros_like(pool.prior)  # no row is refused
    return decide(pool, pool.allowed(), BELOW, weight=weight, threshold=every, state=state)


def gaussian_weight(
    probs: Tensor, state: dict[str, Tensor], config: SoftMatchConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """Returns weights (B,) and the new averages after one batch or pool.

    state: softmatch.mu and softmatch.var, () or (C,) with per_class.
    """
    classes = probs.shape[1]
    confidence, predicted = probs.max(1)
    mean, var = (
        _by_class(confidence, predicted, classes) if config.per_class else _moments(confidence)
    )
    first = None if config.unbiased else torch.full_like(mean, 1 / classes)
    second = None if config.unbiased else torch.ones_like(var)
    mu, update = running(state, "softmatch.mu", mean, config.momentum, first)
    sigma2, more = running(state, "softmatch.var", var, config.momentum, second)
    centre, spread = (mu[predicted], sigma2[predicted]) if config.per_class else (mu, sigma2)
    below = (confidence - centre).clamp(max=0)
    weight = torch.exp(-(below**2) / (2 * spread.clamp(min=1e-12) / config.n_sigma**2))
    return weight, update | more


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    mean = x.mean()
    return mean, ((x - mean) ** 2).sum() / max(len(x) - 1, 1)


def _by_class(x: Tensor, label: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Mean and variance per class; fewer than two rows give 0 and 1, as in the published code."""
    count = torch.bincount(label, minlength=classes).to(x.dtype)
    zero = x.new_zeros(classes)
    mean = zero.index_add(0, label, x) / count.clamp(min=1)
    square = zero.index_add(0, label, (x - mean[label]) ** 2) / (count - 1).clamp(min=1)
    enough = count > 1
    return torch.where(enough, mean, zero), torch.where(enough, square, zero + 1)
