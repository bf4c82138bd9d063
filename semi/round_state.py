"""What a round was trained on, and a finished round: everything needed to go on from it.

Letters: G chains, P pool rows, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from .ensemble import Ensemble
from .teaching import Teaching


@dataclass
class Picked:
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


@dataclass
class RoundState:
    """One finished round; everything needed to go on from it."""

    number: int
    ensemble: Ensemble | None  # None once a rolled-back round has been put away
    teaching: Teaching
    picked: Picked | None  # None in round 0
    coverage: float  # share of the pool asked for
    metric: float  # gold out-of-fold value the gate looks at
    se: float  # its standard error (grouped bootstrap)
    information: float | None = None  # nats per gold row, out-of-fold, over knowing class shares
    accepted: bool = True
    verdict: str = ""
