"""Several labels a row: one regression or one pair of Gaussians for each label, by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from .closed_form import LinearTargets
from .taken import whole

Solve = Callable[[LinearTargets], dict[str, Tensor]]


def label_by_label(solve: Solve) -> Solve:
    """Returns a solver of the log odds of each label from one of classes, here yes and no."""

    def solve_labels(given: LinearTargets) -> dict[str, Tensor]:
        labels = []
        targets = whole(given.target)
        for c in range(targets.shape[2]):
            target, gold = (_no_yes(t[..., c]) for t in (targets, given.gold_target))
            two = solve(replace(given, target=target, gold_target=gold))
            labels.append({name: value[..., 1] - value[..., 0] for name, value in two.items()})
        return {name: torch.stack([label[name] for label in labels], -1) for name in labels[0]}

    return solve_labels


def _no_yes(target: Tensor) -> Tensor:
    """Returns (..., 2) shares of no and yes."""
    return torch.stack([1 - target, target], -1)
