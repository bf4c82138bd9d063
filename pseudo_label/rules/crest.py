"""CReST: rare classes give all their predicted rows, common ones few."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from ..alignment import alignment_ratio, normalise
from ..pool import CONSTANT, QUOTA, Pool, Selection, nothing
from .class_topk import take_top


@dataclass
class CReSTConfig:
    """Numbers of the rule crest."""

    alpha: float = 3.0
    """Rates are the mirrored class ratios to the power 1 / alpha."""
    generations: int = field(default=6, metadata=CONSTANT)
    """Rounds over which the alignment goes from the prior to prior ** t_min."""
    t_min: float = field(default=0.5, metadata=CONSTANT)
    """Last exponent of the progressive alignment; 1 = align to the prior itself throughout."""

    def __post_init__(self):
        if self.alpha <= 0:
            raise ValueError(f"alpha must be positive, got {self.alpha}")
        if self.generations < 1:
            raise ValueError(f"generations must be at least 1, got {self.generations}")
        if not 0 <= self.t_min <= 1:
            raise ValueError(f"t_min must be in [0, 1], got {self.t_min}")


class _Reads(Protocol):
    """What the rule reads of the settings."""

    crest: CReSTConfig


def crest(pool: Pool, config: _Reads) -> Selection:
    """Takes the top mu_c share of the rows predicted as c, mu_c = (N_{C+1-c} / N_1)^(1/alpha).

    https://arxiv.org/abs/2102.09559, eq. 1 and the progressive alignment of CReST+; c counts the
    classes from the most frequent, so the rarest class gives all its rows.
    """
    if not len(pool):
        return nothing(pool)
    numbers = config.crest
    done = min((pool.round - 1) / max(numbers.generations - 1, 1), 1.0)
    t = (1 - done) + done * numbers.t_min
    ratio = alignment_ratio(pool.probs, normalise(pool.prior.clamp(min=1e-12) ** t))
    gold = pool.gold
    if gold is not None:  # a threshold on aligned confidences is one of aligned gold
        gold = replace(gold, probs=normalise(gold.probs * ratio))
    pool = replace(pool, probs=normalise(pool.probs * ratio), gold=gold)
    rows = torch.bincount(pool.predicted[pool.allowed()], minlength=pool.probs.shape[1])
    share = sampling_rates(pool.prior, numbers.alpha)
    return take_top(pool, pool.confidence, (rows * share + 1e-9).floor().long(), refusal=QUOTA)


def sampling_rates(prior: Tensor, alpha: float) -> Tensor:
    """Returns mu_c for every class, 1 for the rarest, (C,) float64."""
    order = prior.argsort(descending=True, stable=True)
    sorted_shares = prior.double()[order]
    rates = torch.empty_like(sorted_shares)
    rates[order] = (sorted_shares.flip(0) / sorted_shares[0].clamp(min=1e-12)) ** (1 / alpha)
    return rates
