"""What a round trains on: gold without each chain's held-out fold, and its pseudo-labels.

Letters: G chains, P pool rows, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..training.dataset import Dataset
from ..training.targets import TrainingTargets
from .state import PseudoLabels


def targets_of(
    dataset: Dataset, pseudo_labels: PseudoLabels | None, target: Tensor | None
) -> TrainingTargets:
    """Returns gold, minus each chain's held-out fold, plus what each chain picked.

    Args:
        dataset: the data.
        pseudo_labels: the round's pseudo-labels, or None in round 0.
        target: (G, P, C) their soft targets.
    """
    chains, n = dataset.folds + 1, len(dataset.present)
    weight = torch.zeros(chains, n, device=dataset.device)
    for k in range(chains):
        weight[k, dataset.gold] = (dataset.fold != k).float()
    every = dataset.target.expand(chains, -1, -1)
    pseudo, negative = dataset.gold[:0], None
    if pseudo_labels is not None and target is not None:
        every = every.clone()
        every[:, dataset.pool] = target.to(every)
        weight[:, dataset.pool] = pseudo_labels.weight.to(weight)
        taught = pseudo_labels.chosen.any(0)
        if pseudo_labels.negative is not None:
            negative = torch.zeros_like(every)
            negative[:, dataset.pool] = pseudo_labels.negative.to(every)
            taught = taught | pseudo_labels.negative.any(2).any(0)
        pseudo = dataset.pool[taught]
    affect = None
    if dataset.affect is not None:
        affect = torch.full_like(dataset.affect, torch.nan).repeat(chains, 1, 1)
        affect[:, dataset.gold] = dataset.affect[dataset.gold]
        if pseudo_labels is not None and pseudo_labels.affect is not None:
            affect[:, dataset.pool] = pseudo_labels.affect.to(affect)
    return TrainingTargets(
        dataset.values, dataset.present, every, weight, dataset.gold, pseudo, affect, negative
    )
