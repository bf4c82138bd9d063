"""Weighted soft voting of heads, folds and seeds on calibrated probabilities."""

from __future__ import annotations

import torch
from torch import Tensor

from .alignment import normalise


def soft_vote(
    probs: Tensor, weights: Tensor | None = None, present: Tensor | None = None
) -> Tensor:
    """Returns sum_h w_h p_h with the weights renormalised over the heads a row has, (N, C).

    Args:
        probs: (M, N, C) calibrated probabilities of M heads.
        weights: (M,) non-negative; None = equal.
        present: (N, M) bool; None = all. A row without any head gets a uniform vote.
    """
    heads = probs.shape[0]
    weights = probs.new_ones(heads) if weights is None else weights.to(probs)
    share = weights.expand(probs.shape[1], heads)
    if present is not None:
        share = share * present.to(probs.dtype)
    mixed = torch.einsum("nm,mnc->nc", share, probs.masked_fill((share.T == 0)[..., None], 0.0))
    return normalise(mixed)


def decision(probs: Tensor, prior: Tensor, tau: float) -> Tensor:
    """Returns argmax log p - tau log prior (logit adjustment, https://arxiv.org/abs/2007.07314)."""
    return (probs.clamp(min=1e-12).log() - tau * prior.clamp(min=1e-12).log()).argmax(1)
