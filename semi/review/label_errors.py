"""How wrong given labels look to models that never saw them: confident learning.

Northcutt et al. 2021, https://arxiv.org/abs/1911.00068. Each rule is a function of out-of-fold
probabilities (n, C) and given labels (n,) and returns (n,) values; the greatest look wrong most.

Letters: n gold rows, C classes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def self_confidence(probs: Tensor, label: Tensor) -> Tensor:
    """Returns one less the probability of the given label."""
    return 1 - _given(probs, label)


def normalized_margin(probs: Tensor, label: Tensor) -> Tensor:
    """Returns by how much the likeliest other class leads over the given label, from -1 to 1."""
    others = probs.scatter(1, label[:, None], -torch.inf)
    return others.amax(1) - _given(probs, label) if probs.shape[1] > 1 else -_given(probs, label)


def confident_joint(probs: Tensor, label: Tensor) -> Tensor:
    """Returns `normalized_margin`, raised by 2 for rows off the diagonal of the confident joint.

    A row counts for the likeliest of the classes that it is as sure of as the rows labelled so are
    in mean. One that counts for another class than its own looks wrong.
    """
    mass = torch.zeros(probs.shape[1], dtype=probs.dtype).index_add_(0, label, _given(probs, label))
    rows = torch.bincount(label, minlength=probs.shape[1])
    usual = torch.where(rows > 0, mass / rows.clamp(min=1), torch.inf)  # (C,)
    confident = torch.where(probs >= usual, probs, -1.0)
    found = confident.argmax(1)
    off = (confident.amax(1) > 0) & (found != label)
    return normalized_margin(probs, label) + 2 * off


def adjusted_margin(probs: Tensor, label: Tensor) -> Tensor:
    """Returns `normalized_margin` of probabilities less those usual for each class.

    So a class that the models are never sure of is not suspected as a whole (the paper's section
    on class imbalance; cleanlab's adjust_pred_probs).
    """
    mass = torch.zeros(probs.shape[1], dtype=probs.dtype).index_add_(0, label, _given(probs, label))
    usual = mass / torch.bincount(label, minlength=probs.shape[1]).clamp(min=1)
    return normalized_margin(probs - usual, label)


def _given(probs: Tensor, label: Tensor) -> Tensor:
    return probs.gather(1, label[:, None])[:, 0]


LABEL_ERROR_RULES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "self_confidence": self_confidence,
    "normalized_margin": normalized_margin,
    "confident_joint": confident_joint,
    "adjusted_margin": adjusted_margin,
}
