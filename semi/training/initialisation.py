"""What a round starts from: the untrained members, and what was learned without any label.

Letters: K folds, M members of a fold.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from models.fusion import FusionConfig
from models.fusion.config import CLOSED_FORM

from ..config.task import task_of
from ..features.principal import is_sketched
from .dataset import Dataset
from .diagnostics import contrast_probe
from .ensemble import Ensemble
from .fit import OnStep, Probe, pretrain
from .projection import principal_start


def model_of(config: Any) -> FusionConfig:
    """Returns the settings of the model, with the heads that task and training need."""
    affect = config.model.affect or task_of(config).affect
    return replace(config.model, affect=affect)


def learned_start(
    dataset: Dataset, config: Any, on_step: OnStep | None = None
) -> dict[str, Tensor]:
    """Returns the tensors (M, ...) learned without labels: by contrast, or principal axes.

    Nothing where there is nothing to contrast: no kind but contrastive has such terms.
    """
    rows = torch.cat([dataset.gold, dataset.pool])
    if config.model.kind in CLOSED_FORM:
        if any(is_sketched(len(rows), d, 1) for d in dataset.dims.values()):  # by a part of them
            rows = rows[dataset.hashed(rows).argsort()]
        return principal_start(dataset.values, dataset.present, rows, config.model.components)
    wanted = config.contrast.pretrain_steps > 0 and config.contrast.pairs(len(dataset.dims))
    if not wanted or config.model.kind != "contrastive":
        return {}
    fresh = _untrained(dataset, config, config.train.members)
    done = pretrain(
        fresh,
        dataset.values,
        dataset.present,
        rows,
        config.train,
        config.noise,
        config.contrast,
        seed=config.seed,
        on_step=on_step,
        probe=_probe(dataset, fresh, config),
    )
    return {k: v for k, v in done.params.items() if not torch.equal(v, fresh.params[k])}


def _untrained(dataset: Dataset, config: Any, count: int) -> Ensemble:
    """Returns `count` members as they are initialised."""
    return Ensemble.create(
        model_of(config),
        dataset.dims,
        len(dataset.classes),
        count=count,
        seed=config.seed,
        device=dataset.device,
    )


def _probe(dataset: Dataset, ensemble: Ensemble, config: Any) -> Probe | None:
    """Returns the check of the contrast on inputs of dev and test rows; it reads no labels."""
    rows = torch.cat([dataset.dev, dataset.test])
    return contrast_probe(
        ensemble,
        dataset.values,
        dataset.present,
        rows,
        config.noise,
        config.contrast,
        seed=config.seed,
    )


def fresh_ensemble(dataset: Dataset, config: Any, learned: dict[str, Tensor]) -> Ensemble:
    """Returns the untrained (K + 1) x M members, their encoders from pre-training if there was any.

    The same start in every round: a round differs from the warm start by its pseudo-labels alone.
    """
    chains = dataset.folds + 1
    ensemble = _untrained(dataset, config, chains * config.train.members)
    for name, value in learned.items():
        each = ensemble.count // len(value)
        ensemble.params[name] = value.to(dataset.device).repeat(each, *[1] * (value.dim() - 1))
    return ensemble
