"""Loss split: a two-component Gaussian mixture tells clean pseudo-labels from noisy ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..pool import NOISY, Pool, Selection, decide, nothing

if TYPE_CHECKING:
    from ..config import SelectionConfig


@dataclass
class GMMConfig:
    """Numbers of the rule gmm_split."""

    threshold: float = 0.5
    """Least posterior probability of the low-loss component."""
    history: int = 5
    """Rounds whose losses are averaged."""
    iterations: int = 100
    """EM steps."""
    floor: float = 5e-4
    """Added to the variances (losses are scaled to [0, 1])."""

    def __post_init__(self):
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold must be in [0, 1], got {self.threshold}")
        if self.history < 1:
            raise ValueError(f"history must be at least 1, got {self.history}")
        if self.floor <= 0:
            raise ValueError(f"floor must be positive, got {self.floor}")


def gmm_split(pool: Pool, config: SelectionConfig) -> Selection:
    """Takes rows whose loss belongs to the low-loss Gaussian; weight = that posterior.

    DivideMix, https://arxiv.org/abs/2002.07394, section 3.1. The loss of a row is the mean
    cross-entropy of the ensemble members with the fused label (the members play the two networks);
    without members it is -log max p. Losses of the last rounds are averaged.
    """
    if not len(pool):
        return nothing(pool)
    numbers = config.gmm_split
    label = pool.predicted
    views = pool.probs[None] if pool.members is None else pool.members
    right = views.gather(2, label.expand(len(views), -1)[..., None])[..., 0]  # (E, N)
    loss = -right.clamp(min=1e-12).log().mean(0)
    past = pool.state.get("gmm_split.losses")
    losses = loss[None] if past is None else torch.cat([past.to(loss), loss[None]])
    losses = losses[-numbers.history :]
    state = {"gmm_split.losses": losses}
    clean, split = clean_probability(losses.mean(0), numbers)
    notes = [] if split else ["gmm_split: all losses are equal, nothing can be told apart"]
    return decide(
        pool,
        clean > numbers.threshold,
        NOISY,
        weight=clean.clamp(0.1, 1.0).to(pool.probs.dtype),
        threshold=None,
        state=state,
        notes=notes,
    )


def clean_probability(loss: Tensor, config: GMMConfig) -> tuple[Tensor, bool]:
    """Returns the posterior of the low-mean component (N,) and whether the losses differ at all."""
    low, high = loss.min(), loss.max()
    if float(high - low) < 1e-6:
        return torch.ones_like(loss), False
    x = ((loss - low) / (high - low)).double()
    mean, var, mass = fit_mixture(x, config)
    return _posterior(x, mean, var, mass)[:, mean.argmin()].to(loss.dtype), True


def fit_mixture(x: Tensor, config: GMMConfig, bins: int = 2048) -> tuple[Tensor, Tensor, Tensor]:
    """Returns means, variances and shares (2,) by EM from the lower and upper half of x in [0, 1].

    EM runs on the bins' means weighted by their counts: the cost does not grow with the rows, and
    the order of the rows cannot matter.
    """
    place = (x * bins).long().clamp(max=bins - 1)
    count = torch.bincount(place, minlength=bins).double()
    value = count.new_zeros(bins).index_add(0, place, x) / count.clamp(min=1)
    upper = (count.cumsum(0) - count / 2) > count.sum() / 2
    responsibility = torch.stack([~upper, upper], 1).double()
    mean = var = mass = value.new_zeros(2)
    for _ in range(config.iterations):
        weighted = responsibility * count[:, None]
        total = weighted.sum(0).clamp(min=1e-12)
        mean = (weighted * value[:, None]).sum(0) / total
        var = (weighted * (value[:, None] - mean) ** 2).sum(0) / total + config.floor
        mass = total / count.sum()
        responsibility = _posterior(value, mean, var, mass)
    return mean, var, mass


def _posterior(x: Tensor, mean: Tensor, var: Tensor, mass: Tensor) -> Tensor:
    log = -((x[:, None] - mean) ** 2) / (2 * var) - 0.5 * var.log() + mass.clamp(min=1e-12).log()
    return log.softmax(1)
