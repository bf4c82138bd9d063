"""Classification losses on logits (..., B, C); VMAP.

Targets are class shares (..., B, C) (one-hot, rater votes, pseudo-label probabilities); `weight`
(..., B), 0 = the row is absent.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .reduce import exact, keep_rows, row_weight, weighted_mean


def soft_cross_entropy(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    class_weight: Tensor | None = None,
    smoothing: float = 0.0,
) -> Tensor:
    """Returns the weighted mean of -sum_c w_c y_c log p_c.

    With `class_weight` (C,) rows count by the weight of their class, also in the mean's
    denominator, as torch's own cross-entropy does.
    """
    w = row_weight(logits[..., 0], weight)
    logits, target = keep_rows(exact(logits), w), keep_rows(exact(target), w)
    if smoothing > 0:
        target = target * (1 - smoothing) + smoothing / logits.shape[-1]
    if class_weight is not None:
        row = (target * class_weight).sum(-1)  # (..., B)
        target = target * class_weight / torch.where(row > 0, row, 1.0)[..., None]
        w = w * row
    return weighted_mean(-(target * logits.log_softmax(-1)).sum(-1), w)


def focal(
    logits: Tensor, target: Tensor, weight: Tensor | None = None, *, gamma: float = 2.0
) -> Tensor:
    """Returns cross-entropy with every class term times (1 - p_c)^gamma.

    https://arxiv.org/abs/1708.02002
    """
    w = row_weight(logits[..., 0], weight)
    logits, target = keep_rows(exact(logits), w), keep_rows(exact(target), w)
    log_p = logits.log_softmax(-1)
    # 1 - p can round to 0, where a power below 1 would have an infinite slope
    fade = (1 - log_p.exp()).clamp(min=1e-6) ** gamma
    return weighted_mean(-(target * fade * log_p).sum(-1), w)


def ldam(
    logits: Tensor,
    target: Tensor,
    counts: Tensor,
    weight: Tensor | None = None,
    *,
    margin: float = 0.5,
    scale: float = 30.0,
    class_weight: Tensor | None = None,
) -> Tensor:
    """Returns the label-distribution-aware margin loss (https://arxiv.org/abs/1906.07413).

    Margin m_c = margin (n_c / min n)^(-1/4) is taken off the logit of the true class. `logits`
    should be cosines (unit features and class vectors); `counts` (C,) are training counts.
    """
    counts = exact(counts).clamp(min=1.0)
    m = margin * (counts / counts.min()) ** -0.25
    shifted = scale * (exact(logits) - m * exact(target))
    return soft_cross_entropy(shifted, target, weight, class_weight=class_weight)


def soft_macro_f1(logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Returns 1 - mean_c F1_c with counts from probabilities, F1_c = 2 tp / (2 tp + fp + fn).

    A statistic of the batch: the mean is over classes that occur in the targets, so that an
    absent class is neither rewarded nor punished.
    """
    w = row_weight(logits[..., 0], weight)
    p, target = keep_rows(exact(logits), w).softmax(-1), keep_rows(exact(target), w)
    tp = (w[..., None] * p * target).sum(-2)  # (..., C)
    predicted, actual = (w[..., None] * p).sum(-2), (w[..., None] * target).sum(-2)
    f1 = 2 * tp / (predicted + actual).clamp(min=1e-7)
    return weighted_mean(1 - f1, (actual > 0).to(f1.dtype))
