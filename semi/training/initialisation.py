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
from .dataset import Problem
from .diagnostics import contrast_probe
from .ensemble import Ensemble
from .fit import OnStep, Probe, pretrain
from .projection import principal_start


def model_of(config: Any) -> FusionConfig:
    """Returns the settings of the model, with the heads that task and training need."""
    affect = config.model.affect or task_of(config).affect
    balanced = config.model.balanced_head or config.train.auxiliary_head
    return replace(config.model, affect=affect, balanced_head=balanced)


def learned_start(
    problem: Problem, config: Any, on_step: OnStep | None = None
) -> dict[str, Tensor]:
    """Returns the tensors (M, ...) learned without labels: by contrast, or principal axes.

    Nothing where there is nothing to contrast: no kind but contrastive has such terms.
    """
    rows = torch.cat([problem.gold, problem.pool])
    if config.model.kind in CLOSED_FORM:
        if any(is_sketched(len(rows), d, 1) for d in problem.dims.values()):  # by a part of them
            rows = rows[problem.hashed(rows).argsort()]
        return principal_start(problem.values, problem.present, rows, config.model.components)
    wanted = config.contrast.pretrain_steps > 0 and config.contrast.pairs(len(problem.dims))
    if not wanted or config.model.kind != "contrastive":
        return {}
    fresh = _untrained(problem, config, config.train.members)
    done = pretrain(
        fresh,
        problem.values,
        problem.present,
        rows,
        config.train,
        config.noise,
        config.contrast,
        seed=config.seed,
        on_step=on_step,
        probe=_probe(problem, fresh, config),
    )
    return {k: v for k, v in done.params.items() if not torch.equal(v, fresh.params[k])}


def _untrained(problem: Problem, config: Any, count: int) -> Ensemble:
    """Returns `count` members as they are initialised."""
    return Ensemble.create(
        model_of(config),
        problem.dims,
        len(problem.classes),
        count=count,
        seed=config.seed,
        device=problem.device,
    )


def _probe(problem: Problem, ensemble: Ensemble, config: Any) -> Probe | None:
    """Returns the check of the contrast on inputs of dev and test rows; it reads no labels."""
    rows = torch.cat([problem.dev, problem.test])
    return contrast_probe(
        ensemble,
        problem.values,
        problem.present,
        rows,
        config.noise,
        config.contrast,
        seed=config.seed,
    )


def fresh_ensemble(problem: Problem, config: Any, learned: dict[str, Tensor]) -> Ensemble:
    """Returns the untrained (K + 1) x M members, their encoders from pre-training if there was any.

    The same start in every round: a round differs from the warm start by its pseudo-labels alone.
    """
    chains = problem.folds + 1
    ensemble = _untrained(problem, config, chains * config.train.members)
    for name, value in learned.items():
        each = ensemble.count // len(value)
        ensemble.params[name] = value.to(problem.device).repeat(each, *[1] * (value.dim() - 1))
    return ensemble
