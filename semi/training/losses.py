"""The classification losses that training may use; LOSSES maps `train.loss` to a function. VMAP.

Each returns one number from logits (R, C), class shares (R, C) and row weights (R,): those of the
gold rows of a chain sum to one, rows of weight 0 are not its training rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from models.losses.classification import focal, ldam, soft_macro_f1


@dataclass
class LossContext:
    """What a loss may know beside the batch."""

    counts: Tensor  # (C,) gold rows of each class
    gamma: float = 2.0  # focal: how strongly easy rows fade
    margin: float = 0.5  # ldam: margin of the rarest class, in logits


Loss = Callable[[Tensor, Tensor, Tensor, LossContext], Tensor]


def cross_entropy(logits: Tensor, target: Tensor, rows: Tensor, context: LossContext) -> Tensor:
    """Returns the weighted sum of -sum_c y_c log p_c."""
    nll = -(target * logits.log_softmax(-1)).sum(-1)  # (R,)
    return (rows * nll).sum()


def focal_loss(logits: Tensor, target: Tensor, rows: Tensor, context: LossContext) -> Tensor:
    """Returns cross-entropy that fades on rows already learned, times the rows' weight."""
    return focal(logits, target, rows, gamma=context.gamma) * rows.sum()


def soft_f1(logits: Tensor, target: Tensor, rows: Tensor, context: LossContext) -> Tensor:
    """Returns 1 - macro-F1 from probabilities over the whole batch, times the rows' weight."""
    return soft_macro_f1(logits, target, rows) * rows.sum()


def ldam_loss(logits: Tensor, target: Tensor, rows: Tensor, context: LossContext) -> Tensor:
    """Returns cross-entropy with a margin of n_c^(-1/4), largest for the rarest class.

    On plain logits, hence without the factor 30 that the paper's cosines need.
    """
    return ldam(logits, target, context.counts, rows, margin=context.margin, scale=1.0) * rows.sum()


LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy,
    "focal": focal_loss,
    "soft_f1": soft_f1,
    "ldam": ldam_loss,
}


def negative_learning(logits: Tensor, negative: Tensor) -> Tensor:
    """Returns the sum over rows and classes of -w log(1 - p_c), w (R, C) as given.

    Of the classes that a row surely is not, https://arxiv.org/abs/1908.07387.
    """
    return -(negative * (1 - logits.softmax(-1)).clamp(min=1e-6).log()).sum()


def binary_cross_entropy(
    logits: Tensor, target: Tensor, rows: Tensor, context: LossContext
) -> Tensor:
    """Returns the weighted sum of the class mean of binary cross-entropies on raw logits.

    For tasks of several labels a row; no softmax comes before the sigmoid.
    """
    each = -(target * F.logsigmoid(logits) + (1 - target) * F.logsigmoid(-logits))
    return (rows * each.mean(-1)).sum()
