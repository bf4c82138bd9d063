"""What a round was trained on, and a finished round: everything needed to go on from it.

Letters: G chains, H heads, P pool rows, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pseudo_label.rules.ups import negative_weight
from pseudo_label.selection import cap_mass

from ..training.dataset import Dataset
from ..training.ensemble import Ensemble
from ..training.teacher import TeacherOutputs


@dataclass
class PseudoLabels:
    """What one round was trained on beside gold; P pool rows, G chains."""

    chosen: Tensor  # (G, P) bool
    label: Tensor  # (G, P) int64
    weight: Tensor  # (G, P) float, after the mass cap
    probs: Tensor  # (P, C) what the rule saw of the last chain
    threshold: Tensor  # (C,) of the last chain
    reason: Tensor  # (P,) int8 of the last chain
    state: list[dict[str, Tensor]]  # rule state of each chain
    notes: list[str] = field(default_factory=list)
    affect: Tensor | None = None  # (G, P, 2) valence and arousal to learn beside
    # (G, P, C) weights of the classes that a row surely is not; used by the round, not kept
    negative: Tensor | None = None


def of_held_out_groups(dataset: Dataset) -> Tensor:
    """Returns (G, P) bool: pool rows of the groups whose gold rows a chain holds out, all of them.

    A chain that learned pseudo-labels of a speaker it is judged on would be judged on somebody it
    knows, while the speakers of the test are strangers: on seven corpora out-of-fold gains were up
    to four times those on test. The last chain holds nobody out.
    """
    among, pool = dataset.group_code(dataset.gold), dataset.group_code(dataset.pool)
    groups = int(torch.cat([among, pool]).max()) + 1 if len(among) + len(pool) else 0
    gold = torch.bincount(among, minlength=groups)
    held = []
    for k in range(dataset.folds + 1):
        here = torch.bincount(among[dataset.fold == k], minlength=groups)
        held.append(((here > 0) & (here == gold))[pool])
    return torch.stack(held)


def capped(dataset: Dataset, weight: Tensor, cap: float) -> Tensor:
    """Returns the weights (G, P), of each chain at most `cap` times its gold rows in all."""
    mass = [float((dataset.fold != k).sum()) for k in range(len(weight))]
    return torch.stack([cap_mass(w, m, cap) for w, m in zip(weight, mass, strict=True)])


def negatives(dataset: Dataset, parts: list[Tensor | None], cap: float) -> Tensor | None:
    """Returns (G, P, C) weights of negative labels, or None where a rule marks none.

    A row weighs one, shared by its negative classes; all rows together at most cap times the gold.

    Args:
        dataset: the data.
        parts: (P, C) bool of each chain.
        cap: select.mass_cap.
    """
    found = [negative_weight(part) for part in parts if part is not None]
    if len(found) < len(parts):
        return None
    weight = torch.stack(found)
    stacked = weight * capped(dataset, weight.sum(2), cap)[..., None]
    return stacked if stacked.any() else None


@dataclass
class RoundState:
    """One finished round; everything needed to go on from it."""

    number: int
    ensemble: Ensemble | None  # None once a rolled-back round has been put away
    outputs: TeacherOutputs
    pseudo_labels: PseudoLabels | None  # None in round 0
    coverage: float  # share of the pool asked for
    metric: float  # gold out-of-fold value the gate looks at
    se: float  # its standard error over groups
    information: float | None = None  # nats per gold row, out-of-fold, over knowing class shares
    agreement: float | None = None  # of what it learned with the warm start's answers, a kappa
    accepted: bool = True
    verdict: str = ""
    floor: list[dict[str, Any]] = field(default_factory=list)  # of round 0; see `floor_of`
    alone: bool = False  # its last chain ships by itself, not the mean of all chains
    # what its last chain says of the pool, once it was asked; see `pool_answers`
    last_logits: Tensor | None = None  # (H, P, C) raw
    answers: Tensor | None = None  # (P,) int64 classes


def shipped(ensemble: Ensemble, chains: int, alone: bool) -> tuple[Ensemble, int]:
    """Returns the models of a round that ship, and the number of their chains."""
    if not alone:
        return ensemble, chains
    size = ensemble.count // chains
    return ensemble.select(slice(ensemble.count - size, None)), 1
