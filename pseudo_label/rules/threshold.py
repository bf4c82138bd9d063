"""Fixed thresholds, one for all classes or one a class (Lee 2013; FixMatch; MR-CCL's .99/.85)."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from ..pool import BELOW, Pool, Selection, decide, unknown


class _Reads(Protocol):
    """What the rule reads of the settings."""

    threshold: float
    per_class: dict[str, float]


def threshold(pool: Pool, config: _Reads) -> Selection:
    """Takes rows with max p >= tau of the predicted class (https://arxiv.org/abs/2001.07685)."""
    tau = class_thresholds(pool, config.threshold, config.per_class)
    chosen = pool.confidence >= tau[pool.predicted]
    return decide(pool, chosen, BELOW, threshold=tau)


def class_thresholds(pool: Pool, common: float, per_class: dict[str, float]) -> Tensor:
    """Returns (C,) thresholds: `common`, replaced where a class is named."""
    tau = torch.full_like(pool.prior, common, dtype=pool.probs.dtype)
    for name, value in per_class.items():
        if not pool.classes:
            raise ValueError("per_class names classes, but pool.classes is empty")
        if name not in pool.classes:
            raise ValueError(unknown("per_class", name, pool.classes))
        tau[pool.classes.index(name)] = value
    return tau
