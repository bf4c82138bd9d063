"""Dash: rows whose loss is under a threshold that shrinks geometrically."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from ..alignment import normalise
from ..pool import BELOW, CONSTANT, Pool, Selection, at_label, decide, nothing


@dataclass
class DashConfig:
    """Numbers of the rule dash."""

    factor: float = field(default=1.0001, metadata=CONSTANT)
    """C of the paper."""
    gamma: float = field(default=1.27, metadata=CONSTANT)
    """The threshold is divided by gamma every round."""
    rho_min: float = field(default=0.05, metadata=CONSTANT)
    """Smallest loss threshold; once reached, labels are hard."""
    temperature: float = field(default=0.5, metadata=CONSTANT)
    """Sharpening of the soft label before that."""

    def __post_init__(self):
        if self.gamma <= 1:
            raise ValueError(f"gamma must be above 1, got {self.gamma}")
        if self.temperature <= 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")
        if self.rho_min <= 0:
            raise ValueError(f"rho_min must be positive, got {self.rho_min}")


class _Reads(Protocol):
    """What the rule reads of the settings."""

    dash: DashConfig


def dash(pool: Pool, config: _Reads) -> Selection:
    """Takes rows with CE(p, label) <= rho_t = max(C gamma^-t rho_0, rho_min).

    https://arxiv.org/abs/2109.00650, eq. 8. rho_0 is the loss on held-out gold after the warm start
    and is kept in the state; t counts rounds from 0.
    """
    if not len(pool):
        return nothing(pool)
    numbers = config.dash
    start = pool.state.get("dash.rho_init")
    if start is None:
        if pool.gold is None or not len(pool.gold.label):
            raise ValueError("rule 'dash' starts from the loss on gold, but pool.gold is missing")
        right = at_label(pool.gold.probs, pool.gold.label)
        start = -right.clamp(min=1e-12).log().mean()
    rho = loss_threshold(start, pool.round - 1, numbers)
    soft = rho > numbers.rho_min
    sharp = normalise(pool.probs ** (1 / numbers.temperature))
    hard = torch.zeros_like(sharp).scatter_(1, pool.predicted[:, None], 1.0)
    target = torch.where(soft, sharp, hard)
    chosen = self_loss(pool.probs, target) <= rho
    return decide(pool, chosen, BELOW, target=target, state={"dash.rho_init": start})


def loss_threshold(rho_init: Tensor, step: int, config: DashConfig) -> Tensor:
    """Returns max(C gamma^-step rho_init, rho_min), ()."""
    return (config.factor * config.gamma**-step * rho_init).clamp(min=config.rho_min)


def self_loss(probs: Tensor, target: Tensor) -> Tensor:
    """Returns the cross-entropy of each row with its own pseudo-label, (N,)."""
    return -(target * probs.clamp(min=1e-12).log()).sum(1)
