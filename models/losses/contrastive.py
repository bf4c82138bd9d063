"""Contrastive losses on two views (..., B, D); row i of one view belongs to row i of the other.

Leading dimensions are independent problems solved at once (all modality pairs in one call).
`valid` (..., B) leaves rows out of everything; `weight` (..., B) weighs anchors, and 0 leaves
out too. `same` (B, B) marks pairs trusted to share a class, which are no negatives.
VMAP: no branch, index or size here depends on data.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .partners import partner_loss
from .reduce import exact, keep_rows, row_weight, unit, weighted_mean

MAX_LOG_SCALE = math.log(100)


def nt_xent(
    a: Tensor,
    b: Tensor,
    tau: float | Tensor = 0.1,
    *,
    valid: Tensor | None = None,
    weight: Tensor | None = None,
    same: Tensor | None = None,
) -> Tensor:
    """Returns NT-Xent of SimCLR: partners across views against all other rows of both views.

    l_i = -log exp(z_i.z_p(i)/tau) / sum_{k != i} exp(z_i.z_k/tau), mean over the 2B anchors
    (https://arxiv.org/abs/2002.05709).
    """
    w = row_weight(a[..., 0], weight, valid)  # (..., B)
    scale = tau.reciprocal() if isinstance(tau, Tensor) else w.new_full((), 1.0 / tau)
    # within a view the row itself is never scored; across views its partner always is
    per = partner_loss(exact(a), exact(b), exact(scale), w > 0, same, own_view=True)
    return weighted_mean(per, w)


def clip_loss(
    a: Tensor,
    b: Tensor,
    log_scale: float | Tensor = 2.659,  # ln(1 / 0.07)
    *,
    valid: Tensor | None = None,
    weight: Tensor | None = None,
    same: Tensor | None = None,
) -> Tensor:
    """Returns CLIP's symmetric loss: each row must find its partner among the other view's rows.

    S = exp(s) a b^T, (CE(S, I) + CE(S^T, I)) / 2 with s clamped to ln 100
    (https://arxiv.org/abs/2103.00020).
    """
    w = row_weight(a[..., 0], weight, valid)  # (..., B)
    scale = log_scale if isinstance(log_scale, Tensor) else w.new_full((), log_scale)
    scale = exact(scale).clamp(max=MAX_LOG_SCALE).exp()
    per = partner_loss(exact(a), exact(b), scale, w > 0, same, own_view=False)
    return weighted_mean(per, w)


def supcon(
    anchor: Tensor,
    contrast: Tensor,
    label: Tensor,
    tau: float = 0.1,
    *,
    intra: bool = False,
    classes: int | None = None,
    valid: Tensor | None = None,
    weight: Tensor | None = None,
) -> Tensor:
    """Returns the supervised contrastive loss over all labelled anchors, balanced over classes.

    Per anchor -1/|P(i)| sum_{p in P(i)} log softmax_k(z_i.z_k/tau)_p
    (https://arxiv.org/abs/2004.11362). `label` (B,) int, -1 = unlabelled: such a row is neither
    anchor nor candidate. `intra`: both views are the same modality and a row is not its own
    positive; else the row's other view is one. An anchor without positives is skipped. With
    `classes` the mean is over classes of the mean over their anchors, else over anchors.
    """
    w = row_weight(anchor[..., 0], weight, label >= 0 if valid is None else valid & (label >= 0))
    anchor, contrast = unit(keep_rows(exact(anchor), w)), unit(keep_rows(exact(contrast), w))
    score = _similarity(anchor, contrast) / tau
    eye = _eye(anchor.shape[-2], anchor)
    candidate = (w > 0)[..., None, :] & torch.ones_like(eye)
    if intra:
        candidate = candidate & ~eye
    positive = candidate & (label[..., :, None] == label[..., None, :])
    return _multi_positive(score, candidate, positive.to(score.dtype), w, label, classes)


def _multi_positive(
    score: Tensor,
    candidate: Tensor,
    positive: Tensor,
    w: Tensor,
    label: Tensor | None,
    classes: int | None,
) -> Tensor:
    # a row without any candidate would be all -inf; it has weight 0 below, so any finite row does
    none = ~candidate.any(-1, keepdim=True)
    log_p = score.masked_fill(~candidate & ~none, -torch.inf).log_softmax(-1)
    total = positive.sum(-1)  # (..., B)
    log_p = torch.where(positive > 0, log_p, 0.0)
    per = -(log_p * positive).sum(-1) / torch.where(total > 0, total, 1.0)
    w = torch.where(total > 0, w, 0.0)
    if classes is None or label is None:
        return weighted_mean(per, w)
    member = label[..., None, :] == torch.arange(classes, device=score.device)[:, None]
    by_class = torch.where(member, w[..., None, :], 0.0)  # (..., C, B)
    mean = weighted_mean(per[..., None, :].expand(by_class.shape), by_class)  # (..., C)
    return weighted_mean(mean, (by_class.sum(-1) > 0).to(mean.dtype))


def _similarity(a: Tensor, b: Tensor) -> Tensor:
    # float32 also under autocast: at a scale of 100, bf16's 3 digits are an error of 0.4 nats
    with torch.autocast(device_type=a.device.type, enabled=False):
        return a @ b.transpose(-1, -2)


def _eye(rows: int, like: Tensor) -> Tensor:
    return torch.eye(rows, dtype=torch.bool, device=like.device)
