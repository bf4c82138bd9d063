"""Linear models solved at once, all chains and members together: no steps, no learning rate.

Letters: G chains, E members of all chains, r rows that teach, k components of a view, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models.fusion import FusionConfig
from models.fusion.linear import loud_views

from ...config.learning import LearningConfig
from ...config.training import TrainConfig
from ...features.principal import is_sketched
from ..dataset import Dataset
from ..ensemble import Ensemble
from ..fit import OnStep
from ..initialisation import fresh_ensemble
from ..projection import on_axes, principal_start
from ..shared_axes import shared_axes
from ..targets import TrainingTargets
from .taken import Rows, Taken

MOST_AXES_ROWS = 131_072
"""Rows that axes are learned from, those of the smallest hashes of their ids.

A covariance of so many is within 0.3 % of that of any more, and a million rows need no second copy.
"""


@dataclass
class LinearTargets:
    """What a solver is given: the rows that teach on their axes, member by member."""

    views: Sequence[Rows]  # (r, k) each
    present: Tensor  # (r, M)
    target: Rows  # (E, r, C) rows sum to 1
    weight: Tensor  # (E, r)
    gold_target: Tensor  # (n, C) of the gold rows, which come first, as the last chain has them
    part: Tensor  # (n,) out-of-fold part of the gold rows
    affect: Tensor | None  # (E, r, 2) valence and arousal, NaN = unknown
    model: FusionConfig
    train: TrainConfig
    loud: list[int]  # numbers of the views that are heard beside others


Solve = Callable[[LinearTargets], dict[str, Tensor]]


class ClosedForm:
    """A linear student; its solvers find the maps of all members from what they are taught."""

    by_steps = False

    def __init__(self, classes: Solve, labels: Solve, affect: Solve) -> None:
        """Takes the solvers of one class a row, of several labels, and of valence and arousal."""
        self.classes, self.labels, self.affect = classes, labels, affect

    def start(
        self, dataset: Dataset, config: LearningConfig, on_step: OnStep | None = None
    ) -> dict[str, Tensor]:
        """Returns the axes of each view: principal, or stretched along what views share."""
        rows = torch.cat([dataset.gold, dataset.pool])
        parted = any(is_sketched(len(rows), d, 1) for d in dataset.dims.values())
        if parted or len(rows) > MOST_AXES_ROWS:  # axes are found by a part of them
            rows = dataset.by_hash(rows)[:MOST_AXES_ROWS]
        axes = principal_start(
            dataset.values, dataset.present, rows, config.model.components, dataset.blocks
        )
        if config.contrast.axes > 0 and len(dataset.dims) > 1:
            return shared_axes(dataset.values, dataset.present, rows, axes, config.contrast.axes)
        return axes

    def view(self, dataset: Dataset, learned: dict[str, Tensor]) -> Dataset:
        """Returns the dataset with rows on the axes in place of their values."""
        return on_axes(dataset, learned)

    def fit(
        self, seen: Dataset, targets: TrainingTargets, config: LearningConfig,
        learned: dict[str, Tensor], on_step: OnStep | None = None,
    ) -> Ensemble:  # fmt: skip
        """Returns the members as solved, as wide as the axes; they start from nothing."""
        task = config.task

        def solve(given: LinearTargets) -> dict[str, Tensor]:
            found = self.labels(given) if task.multi else self.classes(given)
            return found | (self.affect(given) if task.affect else {})

        if task.kind != "affect" and targets.affect is not None:
            # rounds are made for classes: what they taught of values cost 3.7 points of CCC in mean
            values = targets.affect.index_fill(1, targets.pseudo, torch.nan)
            targets = replace(targets, affect=values)
        fresh = fresh_ensemble(seen, config, {})
        return fit_linear(fresh, targets, config.train, solve, seed=config.seed)

    def whole(self, ensemble: Ensemble, dataset: Dataset, learned: dict[str, Tensor]) -> Ensemble:
        """Returns the members for values of full width."""
        return ensemble.from_axes(dataset.dims, learned)


def fit_linear(
    ensemble: Ensemble, targets: TrainingTargets, config: TrainConfig, solve: Solve, *, seed: int
) -> Ensemble:  # fmt: skip
    """Returns the ensemble with its linear maps solved on the targets, which hold coordinates.

    Both are as wide as the axes (`semi.training.projection`): nothing here knows the full width.
    The first member of a chain learns from the rows as weighted; each further member from a
    Bayesian bootstrap of them (weights times Exp(1) draws).
    """
    rows = torch.cat([targets.gold, targets.pseudo])
    weight = targets.weight[:, rows]
    affect = None if targets.affect is None else targets.affect[:, rows]
    repeat = ensemble.count // len(weight)
    if repeat > 1:
        generator = torch.Generator(device=rows.device).manual_seed(seed)
        draw = torch.empty(repeat, len(rows), device=rows.device)
        draw = draw.exponential_(generator=generator)
        draw[0] = 1.0
        weight = (weight[:, None] * draw).flatten(0, 1)
        affect = None if affect is None else affect.repeat_interleave(repeat, 0)
    given = LinearTargets(
        views=[Taken(value[:], rows) for value in targets.values.values()],
        present=targets.present[rows],
        target=Taken(targets.target, rows, repeat),
        weight=weight,
        gold_target=targets.target[-1, targets.gold],
        # the first chain without it; argmin: of a row that all chains learn from 0
        part=(targets.weight[:, targets.gold] > 0).long().argmin(0),
        affect=affect,
        model=ensemble.config,
        train=config,
        loud=loud_views(list(ensemble.dims), ensemble.config.quiet),
    )
    params = ensemble.params | solve(given)
    return Ensemble(ensemble.config, ensemble.dims, ensemble.classes, params, ensemble.buffers)
