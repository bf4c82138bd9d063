"""The vote of several models: weights fitted on gold, mixed probabilities, mixed values.

Letters: A members, N utterances, n gold rows, C classes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pseudo_label.calibration import minimise
from pseudo_label.voting import fit_weights, soft_vote

from ..data.wording import counted
from ..errors import RunError
from .predictions import Predictions

ROWS_PER_MEMBER = 100.0  # of gold, from which on fitted weights are believed half


def mix(
    members: list[Predictions], weights: Tensor, rows: np.ndarray
) -> tuple[Tensor, Tensor | None]:
    """Returns probabilities (n, C) and values (n, 2) or None; NaN where no member has an answer.

    Several labels a row are mixed class by class; valence and arousal as weighted means.
    """
    probs, answered = _stacked(members, rows)
    if members[0].task.multi:
        pairs = torch.stack([1 - probs, probs], -1).flatten(1, 2)  # (A, n C, 2)
        mixed = soft_vote(
            pairs.nan_to_num(0.0), weights, answered.repeat_interleave(probs.shape[2], 0)
        )
        mixed = mixed[:, 1].reshape(probs.shape[1:])
    elif probs.shape[2]:
        mixed = soft_vote(probs.nan_to_num(0.0), weights, answered)
    else:
        mixed = probs[0]
    silent = ~(answered & (weights > 0)).any(1)
    mixed = mixed.masked_fill(silent[:, None], float("nan"))
    return mixed, mix_values(_values(members, rows), weights)


def mix_values(values: Tensor | None, weights: Tensor) -> Tensor | None:
    """Returns (n, 2) weighted means of (A, n, 2) over the members that say something."""
    if values is None:
        return None
    share = weights.to(values)[:, None, None] * (~values.isnan())
    return (share * values.nan_to_num()).sum(0) / share.sum(0)  # 0 / 0 is NaN: nobody


def fit(members: list[Predictions], rows: np.ndarray) -> tuple[Tensor, str]:
    """Returns weights (A,) of least loss on gold rows, shrunk to equal ones, and how it went.

    Where there are classes they alone decide, also for valence and arousal beside them.
    """
    first = members[0]
    probs, answered = _stacked(members, rows)
    silent = ~answered.any(0)
    if silent.any():
        raise RunError(
            f"member {int(silent.nonzero()[0]) + 1} says nothing about gold training rows, so "
            "no weights can be fitted; give --weights uniform or numbers"
        )
    if first.kind == "affect":
        return _fit_values(members, rows)
    label = torch.from_numpy(first.label[rows])
    if first.several is not None:
        truth = torch.from_numpy(first.several[rows])
        probs = torch.stack([1 - probs, probs], -1).flatten(1, 2)
        answered, label = answered.repeat_interleave(truth.shape[1], 0), truth.flatten().long()
    vote = fit_weights(probs, label, present=answered)
    note = f"{vote.note}; log-loss {vote.nll:.3f}, equal {vote.nll_uniform:.3f}"
    return torch.tensor(vote.weights, dtype=torch.float64), note


def _fit_values(members: list[Predictions], rows: np.ndarray) -> tuple[Tensor, str]:
    values, truth = _values(members, rows), members[0].affect_truth
    if values is None or truth is None:
        raise RunError("valence and arousal of the members are not known")
    gold, count = torch.from_numpy(truth[rows]), len(members)
    known = ~gold.isnan()
    mean = (gold.nan_to_num() * known).sum(0) / known.sum(0).clamp(min=1)
    square = ((gold - mean).nan_to_num() * known).square().sum(0)
    spread = (square / known.sum(0).clamp(min=1)).sqrt().clamp(min=1e-6)

    def loss(w: Tensor) -> Tensor:
        mixed = mix_values(values, w)
        assert mixed is not None
        gap = torch.where(known & ~mixed.isnan(), (mixed.nan_to_num() - gold.nan_to_num()), 0.0)
        return (gap / spread).square().sum() / known.sum().clamp(min=1)

    equal = torch.full((count,), 1 / count).double()
    best = minimise(lambda t: loss(t.softmax(0)), torch.zeros(count).double())[0].softmax(0)
    keep = len(rows) / (len(rows) + ROWS_PER_MEMBER * count)
    weights = (1 - keep) * equal + keep * best.detach()
    note = (
        f"fitted on {counted(len(rows), 'gold row')}, {keep:.0%} of the way from equal weights; "
        f"squared error {float(loss(weights)):.3f} of the variance, equal {float(loss(equal)):.3f}"
    )
    return weights, note


def _stacked(members: list[Predictions], rows: np.ndarray) -> tuple[Tensor, Tensor]:
    """Returns probabilities (A, n, C) and who has an answer (n, A)."""
    probs = torch.from_numpy(np.stack([m.probs[rows] for m in members]))
    return probs, torch.from_numpy(np.stack([m.answered[rows] for m in members], 1))


def _values(members: list[Predictions], rows: np.ndarray) -> Tensor | None:
    if members[0].affect is None:
        return None
    none = np.full((len(rows), 2), np.nan)
    affect = [none if m.affect is None else m.affect[rows] for m in members]
    return torch.from_numpy(np.stack(affect))
