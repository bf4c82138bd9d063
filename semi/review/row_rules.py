"""Acquisition rules that look at every row by itself: ROW_RULES maps names to functions.

Each returns (P,) values >= 0 of `QueryPool`; a row of a greater value is asked about first.
Letters: P pool rows, C classes, G chains, M modalities.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .query_pool import QueryPool


def random(pool: QueryPool) -> Tensor:
    """Returns values that fall in the order of the rows: `pick` has drawn that at random."""
    return 1 - torch.arange(len(pool), dtype=torch.float64) / max(len(pool), 1)


def margin(pool: QueryPool) -> Tensor:
    """Returns one less the lead of the likeliest class over the next one.

    Scheffer et al. 2001, https://doi.org/10.1007/3-540-44816-0_31. Of several labels a row: of the
    class that is decided least, one less the lead of the likelier of yes and no.
    """
    if pool.multi:
        return 1 - (2 * pool.probs - 1).abs().amin(1)
    two = pool.probs.topk(2, 1).values
    return 1 - (two[:, 0] - two[:, 1])


def entropy(pool: QueryPool) -> Tensor:
    """Returns the entropy of each row's answer, in nats; of several labels the sum over classes."""
    return _entropy(pool.probs, pool.multi)


def disagreement(pool: QueryPool) -> Tensor:
    """Returns how far the modalities of a row are apart: their Jensen-Shannon divergence in nats.

    A row with one modality has nobody to disagree with, and 0.
    """
    if pool.by_modality is None or pool.present is None:
        raise ValueError("disagreement compares modalities, of which there is one")
    weight = pool.present.T.to(pool.probs)  # (M, P)
    weight = weight / weight.sum(0).clamp(min=1)
    mean = (weight[..., None] * pool.by_modality).sum(0)
    alone = (weight * _entropy(pool.by_modality, pool.multi)).sum(0)
    return (_entropy(mean, pool.multi) - alone).clamp(min=0)


def committee(pool: QueryPool) -> Tensor:
    """Returns how far the models of the folds are apart on a row, as `disagreement`.

    Query by committee, McCallum and Nigam 1998; BALD, https://arxiv.org/abs/1112.5745.
    """
    if pool.chains is None:
        raise ValueError("committee compares the models of several folds, of which there is none")
    alone = _entropy(pool.chains, pool.multi).mean(0)
    return (_entropy(pool.chains.mean(0), pool.multi) - alone).clamp(min=0)


def flips(pool: QueryPool) -> Tensor:
    """Returns how often a row's pseudo-label changed; among rows alike the least sure first."""
    if pool.flips is None:
        raise ValueError("flips counts changes of pseudo-labels, and no round gave any")
    return pool.flips + 0.999 * margin(pool)


def _entropy(probs: Tensor, multi: bool) -> Tensor:
    """Returns the entropy (..., P) of answers (..., P, C)."""
    found = torch.special.entr(probs).sum(-1)
    return found + torch.special.entr(1 - probs).sum(-1) if multi else found


ROW_RULES: dict[str, Callable[[QueryPool], Tensor]] = {
    "random": random,
    "margin": margin,
    "entropy": entropy,
    "disagreement": disagreement,
    "committee": committee,
    "flips": flips,
}
