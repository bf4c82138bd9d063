"""The most confident rows of each predicted class: by the class prior (default) or equally many."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..pool import QUOTA, Pool, Selection, decide, lowest_chosen, quotas, rank_in_class

if TYPE_CHECKING:
    from ..config import SelectionConfig


def class_topk(pool: Pool, config: SelectionConfig) -> Selection:
    """Takes per predicted class the k_c = ceil(rate * N * prior_c) most confident rows.

    Class-balanced top-k of MER2023 (https://doi.org/10.1145/3581783.3612864), quota by prior.
    """
    return take_top(pool, pool.confidence, quotas(pool.rate, len(pool), pool.prior))


def equal_topk(pool: Pool, config: SelectionConfig) -> Selection:
    """Takes per predicted class the ceil(rate * N / C) most confident rows (MER2023 as published)."""
    return take_top(
        pool, pool.confidence, quotas(pool.rate, len(pool), torch.ones_like(pool.prior))
    )


def take_top(pool: Pool, score: Tensor, quota: Tensor, *, refusal: int = QUOTA) -> Selection:
    """Returns the `quota` (C,) best-scored allowed rows of each predicted class as a Selection."""
    label = pool.predicted
    rank = rank_in_class(score, label, pool.allowed(), pool.tie)
    chosen = (rank < quota[label]) & pool.allowed()
    lowest = lowest_chosen(pool.confidence, label, chosen, pool.probs.shape[1])
    return decide(pool, chosen, refusal, threshold=lowest)
