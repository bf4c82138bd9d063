"""Curriculum labelling: the most confident fifth, then two fifths, ... round by round."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch

from ..pool import QUOTA, Pool, Selection
from .class_topk import take_top


@dataclass
class CurriculumConfig:
    """Numbers of the rule curriculum."""

    percentiles: list[float] = field(default_factory=lambda: [80.0, 60.0, 40.0, 20.0, 0.0])
    """Percentile of the confidence that is the threshold in rounds 1, 2, ...; the last repeats."""
    per_class: bool = True
    """Percentile within each predicted class (else one threshold, which thins hard classes)."""

    def __post_init__(self):
        if not self.percentiles or not all(0 <= p <= 100 for p in self.percentiles):
            raise ValueError(f"percentiles must be values in [0, 100], got {self.percentiles}")


class _Reads(Protocol):
    """What the rule reads of the settings."""

    curriculum: CurriculumConfig


def curriculum(pool: Pool, config: _Reads) -> Selection:
    """Takes the rows at or above a percentile of confidence that falls with the rounds.

    https://arxiv.org/abs/2001.06001. numpy's percentile p of n values lies at index
    (n - 1) p / 100, so n - ceil((n - 1) p / 100) rows reach it; counting places instead of
    comparing values leaves equal confidences to `tie`.
    """
    numbers = config.curriculum
    p = numbers.percentiles[min(pool.round, len(numbers.percentiles)) - 1]
    label = pool.predicted if numbers.per_class else torch.zeros_like(pool.predicted)
    width = pool.probs.shape[1]
    rows = torch.bincount(label[pool.allowed()], minlength=width)
    below = ((rows - 1).clamp(min=0).double() * (p / 100) - 1e-9).ceil().long()
    return take_top(pool, pool.confidence, rows - below, label=label, refusal=QUOTA)
