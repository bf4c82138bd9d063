"""FlexMatch: a class that is rarely confident gets a lower threshold (curriculum per class)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from ..pool import BELOW, CONSTANT, Pool, Selection, decide, nothing


@dataclass
class FlexMatchConfig:
    """Numbers of the rule flexmatch."""

    threshold: float = 0.95
    """tau, the threshold of the class that is learnt best."""
    warmup: bool = field(default=True, metadata=CONSTANT)
    """Count rows that were never confident as a class of their own (lower thresholds early)."""

    def __post_init__(self):
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold must be in (0, 1], got {self.threshold}")


class _Reads(Protocol):
    """What the rule reads of the settings."""

    flexmatch: FlexMatchConfig


def flexmatch(pool: Pool, config: _Reads) -> Selection:
    """Takes rows with max p >= tau a_c / (2 - a_c) (https://arxiv.org/abs/2110.08263, eq. 5-7, 11).

    The paper masks a batch with the counts of the batches before it. A round is one batch, so here
    the pool is counted first; otherwise round 1 would take every row.
    """
    if not len(pool):
        return nothing(pool)
    numbers = config.flexmatch
    selected = pool.state.get("flexmatch.selected")
    if selected is None:
        selected = torch.full_like(pool.predicted, -1)
    rows = torch.arange(len(pool), device=pool.probs.device)
    selected = remember(selected, rows, pool.probs, numbers.threshold)
    tau = numbers.threshold * beta(learning_effect(selected, pool.probs.shape[1], numbers.warmup))
    tau = tau.to(pool.probs.dtype)
    chosen = pool.confidence >= tau[pool.predicted]
    return decide(pool, chosen, BELOW, threshold=tau, state={"flexmatch.selected": selected})


def flexmatch_batch(
    probs: Tensor, rows: Tensor, selected: Tensor, effect: Tensor, config: FlexMatchConfig
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns mask (B,), selected (N,), effect (C,) of one online step, in the published order."""
    confidence, predicted = probs.max(1)
    mask = confidence >= (config.threshold * beta(effect))[predicted]
    selected = remember(selected, rows, probs, config.threshold)
    return mask, selected, learning_effect(selected, probs.shape[1], config.warmup)


def remember(selected: Tensor, rows: Tensor, probs: Tensor, threshold: float) -> Tensor:
    """Returns the last confident class of every pool row (-1 = never), (N,) int64."""
    confidence, predicted = probs.max(1)
    newest = torch.where(confidence >= threshold, predicted, selected[rows])
    return selected.scatter(0, rows, newest)


def learning_effect(selected: Tensor, classes: int, warmup: bool) -> Tensor:
    """Returns a_c = sigma_c / max(max sigma, unused rows with warmup), (C,)."""
    counts = torch.bincount(selected + 1, minlength=classes + 1)
    most = counts.max() if warmup else counts[1:].max()
    return counts[1:].float() / most.clamp(min=1)


def beta(effect: Tensor) -> Tensor:
    """Returns the convex map a / (2 - a)."""
    return effect / (2 - effect)
