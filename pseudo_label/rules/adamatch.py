"""AdaMatch: a threshold relative to the confidence on gold, after aligning the pool to gold."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from ..alignment import running
from ..pool import BELOW, CONSTANT, Pool, Selection, decide, nothing


@dataclass
class AdaMatchConfig:
    """Numbers of the rule adamatch."""

    threshold: float = 0.9
    """Share of the mean gold confidence that a pool row must reach (0.95 in USB)."""
    momentum: float = field(default=0.97, metadata=CONSTANT)
    """Weight of the past in the average predictions (published: 0.999, over many steps)."""
    unbiased: bool = field(default=True, metadata=CONSTANT)
    """Divide the averages by 1 - momentum ** t; false = start as published."""

    def __post_init__(self):
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold must be in (0, 1], got {self.threshold}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {self.momentum}")


class _Reads(Protocol):
    """What the rule reads of the settings."""

    adamatch: AdaMatchConfig


def adamatch(pool: Pool, config: _Reads) -> Selection:
    """Takes rows with max Norm(p p_gold / p_pool) >= tau mean(max p on gold).

    https://arxiv.org/abs/2106.04732, section 3. Out-of-fold gold stands where the paper has the
    labelled batch: confidence on rows the teacher trained on would set the bar too high.
    """
    if not len(pool):
        return nothing(pool)
    gold = pool.gold
    if gold is None or not len(gold.label):
        raise ValueError("rule 'adamatch' compares with gold confidence, but pool.gold is missing")
    numbers = config.adamatch
    aligned, state = align_to_gold(pool.probs, gold.probs, pool.state, numbers)
    pool = replace(pool, probs=aligned)
    level = relative_threshold(gold.probs, numbers.threshold)
    tau = level.expand(aligned.shape[1]).to(aligned.dtype)
    return decide(pool, pool.confidence >= level, BELOW, threshold=tau, state=state)


def relative_threshold(gold_probs: Tensor, threshold: float) -> Tensor:
    """Returns tau times the mean confidence on gold, ()."""
    return gold_probs.amax(1).mean() * threshold


def align_to_gold(
    probs: Tensor, gold_probs: Tensor, state: dict[str, Tensor], config: AdaMatchConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """Returns the aligned probabilities (B, C) and the new averages after one batch or pool.

    state: adamatch.model and adamatch.target, (C,). As published, the model average starts from its
    first value and the target average from uniform.
    """
    mean, gold = probs.mean(0), gold_probs.mean(0)
    first = second = None
    if not config.unbiased:
        first, second = mean, torch.full_like(gold, 1 / len(gold))
    model, update = running(state, "adamatch.model", mean, config.momentum, first)
    target, more = running(state, "adamatch.target", gold, config.momentum, second)
    aligned = probs * (target + 1e-6) / (model + 1e-6)
    return aligned / aligned.sum(1, keepdim=True), update | more
