"""The most confident rows of each predicted class: by the class prior (default) or equally many."""

from __future__ import annotations

import torch
from torch import Tensor

from ..pool import QUOTA, Pool, Selection, decide, quotas, rank_in_class


def class_topk(pool: Pool, config: object) -> Selection:
    """Takes per predicted class the k_c = ceil(rate * N * prior_c) most confident rows.

    Class-balanced top-k of MER2023 (https://doi.org/10.1145/3581783.3612864), quota by prior.
    """
    return take_top(pool, pool.confidence, quotas(pool.rate, len(pool), pool.prior))


def equal_topk(pool: Pool, config: object) -> Selection:
    """Takes per predicted class the ceil(rate * N / C) most confident rows (MER2023 itself)."""
    quota = quotas(pool.rate, len(pool), torch.ones_like(pool.prior))
    return take_top(pool, pool.confidence, quota)


def take_top(
    pool: Pool, score: Tensor, quota: Tensor, *, label: Tensor | None = None, refusal: int = QUOTA
) -> Selection:
    """Returns the `quota` (C,) best-scored allowed rows of each class as a Selection.

    `label` (N,) replaces the predicted class as what the quotas count.
    """
    label = pool.predicted if label is None else label
    rank = rank_in_class(score, label, pool.allowed(), pool.tie)
    chosen = (rank < quota[label]) & pool.allowed()
    return decide(pool, chosen, refusal)
