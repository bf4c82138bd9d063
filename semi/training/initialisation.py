"""The untrained members that a round starts from.

Letters: K folds, M members of a fold.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from models.fusion import FusionConfig

from ..config.learning import LearningConfig
from .dataset import Dataset
from .ensemble import Ensemble


def model_of(config: LearningConfig) -> FusionConfig:
    """Returns the settings of the model, with the head that the task needs."""
    return replace(config.model, affect=config.model.affect or config.task.affect)


def untrained(dataset: Dataset, config: LearningConfig, count: int) -> Ensemble:
    """Returns `count` members as they are initialised."""
    return Ensemble.create(
        model_of(config), dataset.dims, len(dataset.classes), count=count, seed=config.seed,
        device=dataset.device,
    )  # fmt: skip


def fresh_ensemble(
    dataset: Dataset, config: LearningConfig, learned: dict[str, Tensor]
) -> Ensemble:
    """Returns the untrained (K + 1) x M members, their encoders from pre-training if there was any.

    The same start in every round: a round differs from the warm start by its pseudo-labels alone.
    """
    chains = dataset.folds + 1
    ensemble = untrained(dataset, config, chains * config.train.members)
    for name, value in learned.items():
        each = ensemble.count // len(value)
        ensemble.params[name] = value.to(dataset.device).repeat(each, *[1] * (value.dim() - 1))
    return ensemble
