"""Trials that differ in rates, decay or smoothing alone, trained as one program.

To `fit` a trial is (folds + 1) more chains: the members of all trials are stacked and run together.
Batches, noise and dropout are drawn once for all, so that a trial comes out as it would alone.

Letters: T trials, G chains, E members of one trial.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from ...config import schema as settings
from ...self_training.gate import judged
from ...self_training.rounds import targets_of, warm_start
from ...self_training.state import RoundState
from ...training.dataset import Dataset
from ...training.ensemble import Ensemble
from ...training.fit import OWN_SETTINGS, fit
from ...training.initialisation import fresh_ensemble
from ...training.steps import FitConfig
from ...training.students import STUDENTS, learned_start

SIDE_BY_SIDE = {f"train.{name}" for name in OWN_SETTINGS}


def together(configs: list[settings.Config]) -> list[list[int]]:
    """Returns the places of configurations that can be trained at once, in order of the first."""
    groups: dict[str, list[int]] = {}
    for place, config in enumerate(configs):
        key = {k: v for k, v in settings.signature(config).items() if k not in SIDE_BY_SIDE}
        alone = -1 if STUDENTS[config.model.kind].by_steps else place
        groups.setdefault(repr((alone, sorted(key.items(), key=str))), []).append(place)
    return list(groups.values())


def warm_starts(dataset: Dataset, configs: list[settings.Config]) -> list[RoundState]:
    """Returns the supervised model of each configuration; they may differ as `together` says."""
    learned = [learned_start(dataset, config) for config in configs]
    if len(configs) == 1:
        return [warm_start(dataset, configs[0], learned[0])]
    first, many = configs[0], len(configs)
    fresh = [fresh_ensemble(dataset, c, x) for c, x in zip(configs, learned, strict=True)]
    targets = targets_of(dataset, None, None)
    affect = targets.affect
    every = replace(
        targets,
        target=targets.target.repeat(many, 1, 1),
        weight=targets.weight.repeat(many, 1),
        affect=None if affect is None else affect.repeat(many, 1, 1),
    )
    count = fresh[0].count
    side_by_side = FitConfig.of(first, train=[c.train for c in configs])
    done = fit(stacked(fresh), every, side_by_side, seed=first.seed)
    states = []
    for place, config in enumerate(configs):
        part = done.select(slice(place * count, (place + 1) * count))
        states.append(judged(dataset, part, config))
    return states


def stacked(parts: list[Ensemble]) -> Ensemble:
    """Returns the members of several ensembles of one architecture as one."""
    first = parts[0]
    return Ensemble(
        first.config, first.dims, first.classes,
        {k: torch.cat([p.params[k] for p in parts]) for k in first.params},
        {k: torch.cat([p.buffers[k] for p in parts]) for k in first.buffers},
    )  # fmt: skip
