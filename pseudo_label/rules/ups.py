"""UPS: confident and certain rows, and the classes that other rows surely are not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from ..alignment import normalise
from ..pool import (
    BELOW,
    CONSTANT,
    UNCERTAIN,
    Pool,
    Selection,
    at_label,
    decide,
    nothing,
    rank_in_class,
)
from .freematch import quantile


@dataclass
class UPSConfig:
    """Numbers of the rule ups; the members are folds x seeds, or MC-dropout passes."""

    tau_p: float = 0.70
    """Least mean probability of a positive label."""
    kappa_p: float = 0.05
    """Largest standard deviation of it over the members."""
    kappa_quantile: float | None = field(default=0.5, metadata=CONSTANT)
    """Use this quantile of the deviations of confident rows as kappa_p; null = kappa_p itself."""
    tau_n: float = 0.05
    """Largest mean probability of a negative label."""
    kappa_n: float = 0.005
    """Largest standard deviation of it."""
    temperature: float = field(default=2.0, metadata=CONSTANT)
    """Flattening of the members before negative labels are picked."""
    balance_rounds: int = field(default=1, metadata=CONSTANT)
    """In these first rounds every class gives as many rows as the poorest, steadiest first."""
    balance_min: int = field(default=25, metadata=CONSTANT)
    """...but at least this many."""

    def __post_init__(self):
        for name in ("tau_p", "tau_n"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        if self.kappa_quantile is not None and not 0 <= self.kappa_quantile <= 1:
            raise ValueError(f"kappa_quantile must be in [0, 1], got {self.kappa_quantile}")
        if self.temperature <= 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")


class _Reads(Protocol):
    """What the rule reads of the settings."""

    ups: UPSConfig


def ups(pool: Pool, config: _Reads) -> Selection:
    """Takes rows with mean p >= tau_p, std < kappa_p; marks classes with p < tau_n, std < kappa_n.

    https://arxiv.org/abs/2101.06329, eq. 5-6, with the balancing of the authors' code.
    """
    if pool.members is None:
        raise ValueError("rule 'ups' needs pool.members (E, N, C): folds, seeds or dropout passes")
    if not len(pool):
        return nothing(pool)
    numbers = config.ups
    mean, std = pool.members.mean(0), _std(pool.members)
    label = mean.argmax(1)
    confidence, spread = at_label(mean, label), at_label(std, label)
    confident = (confidence >= numbers.tau_p) & pool.allowed()
    kappa = spread.new_tensor(numbers.kappa_p)
    if numbers.kappa_quantile is not None and bool(confident.any()):
        # nextafter: "std < kappa" must keep the row that is the quantile itself
        middle = quantile(spread[confident], numbers.kappa_quantile)
        kappa = torch.nextafter(middle, torch.full_like(middle, torch.inf))
    chosen = confident & (spread < kappa)
    if pool.round <= numbers.balance_rounds:
        counts = torch.bincount(label[chosen], minlength=mean.shape[1])
        place = rank_in_class(-spread, label, chosen, pool.tie)
        chosen = chosen & (place < counts.min().clamp(min=numbers.balance_min))
    refusal = torch.where(confident, UNCERTAIN, BELOW)
    selection = decide(
        pool,
        chosen,
        refusal,
        label=label,
        weight=confidence.clamp(0.1, 1.0),
        threshold=torch.full_like(pool.prior, numbers.tau_p),
        negative=negative_labels(pool.members, numbers) & ~chosen[:, None],
    )
    return selection


def negative_labels(members: Tensor, config: UPSConfig) -> Tensor:
    """Returns the classes each row surely is not, never the likeliest one, (N, C) bool."""
    flat = normalise(members ** (1 / config.temperature))  # = softmax(logits / temperature)
    mean, std = flat.mean(0), _std(flat)
    likeliest = members.mean(0).argmax(1, keepdim=True)
    return ((std < config.kappa_n) & (mean < config.tau_n)).scatter(1, likeliest, False)


def negative_weight(negative: Tensor) -> Tensor:
    """Returns (N, C): each negative class of a row has an equal part of the row's one, else 0."""
    mask = negative.float()
    return mask / mask.sum(-1, keepdim=True).clamp(min=1)


def _std(members: Tensor) -> Tensor:
    """Sample standard deviation over the members; 0 for a single one."""
    if len(members) < 2:
        return torch.zeros_like(members[0])
    return members.std(0)
