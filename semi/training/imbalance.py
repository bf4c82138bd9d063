"""Classes of unequal size: factors of rows and the adjustment of logits.

Letters: N rows of the table, n gold rows, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..config.task import TaskConfig
from ..config.training import TrainConfig
from .targets import TrainingTargets


def class_balance(target: Tensor, power: float) -> Tensor:
    """Returns (n,) row factors n_class**-power with mean 1, from (n, C) soft targets."""
    count = target.sum(0).clamp(min=1e-6)
    factor = (target * count**-power).sum(1)
    return factor / factor.mean()


def gold_shares(targets: TrainingTargets, task: TaskConfig) -> Tensor:
    """Returns (n, C) class shares of the gold rows; the last chain holds none of them out."""
    every = targets.target[-1, targets.gold]
    return every / every.sum(1, keepdim=True).clamp(min=1e-6) if task.multi else every


def correction(
    targets: TrainingTargets, config: TrainConfig, task: TaskConfig
) -> tuple[Tensor, Tensor]:
    """Returns the (N,) loss factor of each row and the (C,) logit adjustment of the one choice."""
    factor = torch.ones_like(targets.weight[0])
    every = gold_shares(targets, task)
    adjust = torch.zeros_like(every[:1].sum(0))
    if config.imbalance == "class_weight":
        factor[targets.gold] = class_balance(every, config.imbalance_power)
    if config.imbalance == "logit_adjust":
        prior = (every.sum(0) + 1) / (every.sum() + every.shape[1])
        adjust = config.imbalance_power * prior.log()
    return factor, adjust
