"""Prior-balanced soft allocation: every pool row gets a soft label, the classes get their share."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from ..pool import BELOW, CONSTANT, Pool, Selection, decide, nothing


@dataclass
class AllocationConfig:
    """Numbers of the rule soft_allocation."""

    temperature: float = 0.5
    """Sharpening before the allocation: P ** (1 / temperature)."""
    iterations: int = field(default=50, metadata=CONSTANT)
    """Sinkhorn iterations."""

    def __post_init__(self):
        if self.temperature <= 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")
        if self.iterations < 1:
            raise ValueError(f"iterations must be at least 1, got {self.iterations}")


class _Reads(Protocol):
    """What the rule reads of the settings."""

    soft_allocation: AllocationConfig


def soft_allocation(pool: Pool, config: _Reads) -> Selection:
    """Takes all rows with Q = Sinkhorn(P^(1/T)), weight 1 - H(Q) / log C.

    Optimal-transport allocation as in SeLa (https://arxiv.org/abs/1911.05371) and SwAV
    (https://arxiv.org/abs/2006.09882), with the class prior as column sums.
    """
    if not len(pool):
        return nothing(pool)
    numbers = config.soft_allocation
    q = sinkhorn(pool.probs, pool.prior, numbers.temperature, numbers.iterations)
    return decide(
        pool,
        pool.allowed(),
        BELOW,
        label=q.argmax(1),
        target=q,
        weight=certainty(q),
        threshold=torch.zeros_like(pool.prior),
    )


def sinkhorn(probs: Tensor, prior: Tensor, temperature: float, iterations: int) -> Tensor:
    """Returns (N, C) with rows summing to 1 and columns close to N * prior.

    Q = diag(u) K diag(v): only the scaling vectors are iterated, two matrix-vector products each.
    """
    # one (N, C) of float64, worked on in place: of ten million rows it is half a gigabyte
    kernel = probs.to(torch.float64, copy=True).clamp_(min=1e-12).pow_(1.0 / temperature)
    kernel /= kernel.amax(1, keepdim=True)  # rows are rescaled anyway; avoids underflow
    share = (prior.double() / prior.double().sum()).clamp(min=1e-12) * len(probs)
    rows = torch.ones(len(probs), dtype=torch.float64, device=probs.device)
    columns = torch.ones_like(share)
    for _ in range(iterations):
        columns = share / (kernel.T @ rows).clamp(min=1e-300)
        rows = 1.0 / (kernel @ columns).clamp(min=1e-300)
    q = kernel.mul_(columns).mul_(rows[:, None])
    return q.div_(q.sum(1, keepdim=True)).to(probs.dtype)


def certainty(q: Tensor) -> Tensor:
    """Returns 1 - H(q) / log C in [0, 1]; 1 for a single class, (N,)."""
    if q.shape[1] < 2:
        return torch.ones_like(q[:, 0])
    entropy = torch.special.entr(q).sum(1)
    return (1 - entropy / math.log(q.shape[1])).clamp(0, 1)
