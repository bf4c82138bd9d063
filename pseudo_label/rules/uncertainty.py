"""Class-prior top-k by margin or by entropy instead of confidence."""

from __future__ import annotations

import torch
from torch import Tensor

from ..pool import UNCERTAIN, Pool, Selection, quotas
from .class_topk import take_top


def margin(pool: Pool, config: object) -> Selection:
    """Takes per class the rows whose two best classes lie furthest apart (breaking ties, BvSB)."""
    quota = quotas(pool.rate, len(pool), pool.prior)
    return take_top(pool, best_minus_second(pool.probs), quota, refusal=UNCERTAIN)


def entropy(pool: Pool, config: object) -> Selection:
    """Takes per class the rows of least entropy H(p) = -sum p log p."""
    quota = quotas(pool.rate, len(pool), pool.prior)
    score = -torch.special.entr(pool.probs).sum(1)
    return take_top(pool, score, quota, refusal=UNCERTAIN)


def best_minus_second(probs: Tensor) -> Tensor:
    """Returns largest minus second largest probability; 1 for a single class, (N,)."""
    if probs.shape[1] < 2:
        return torch.ones_like(probs[:, 0])
    best = probs.topk(2, dim=1).values
    return best[:, 0] - best[:, 1]
