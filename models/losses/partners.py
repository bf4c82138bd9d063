"""How far a row is from telling its partner among candidates: the core of NT-Xent and CLIP's loss.

Autograd keeps scores, masks, exponentials and lengths apart and walks through each again on the way
back. Here one array holds each candidate's share, and the way back is two products with it: the
same numbers in a fraction of the passes over all pairs of rows.

Letters: B rows, D columns, K candidates: B, or 2B where those of the row's own view are some. VMAP.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CLOSED = -1e9  # added to the score of a pair that is left out; -inf would make NaN of a lone row
TINY = 1e-12  # added to squared lengths, as in `reduce.unit`


def partner_loss(
    a: Tensor, b: Tensor, scale: Tensor, present: Tensor, same: Tensor | None, own_view: bool
) -> Tensor:
    """Returns (..., B): log sum_k exp(s_k) - s_partner, the mean of both directions; s = scale cos.

    Rows that are absent are no candidates; their own values are finite and mean nothing.

    Args:
        a: (..., B, D) float32 or float64.
        b: (..., B, D) the partners, row by row.
        scale: one number for each of the leading dimensions, or a single one.
        present: (..., B) bool.
        same: (..., B, B) bool, pairs that are no negatives (a row and its partner always count);
            None: there are none.
        own_view: candidates are the other rows of the same view too (NT-Xent), not only those of
            the other one (CLIP).
    """
    if same is None:
        same = torch.zeros((), dtype=torch.bool, device=a.device).expand(a.shape[-2], a.shape[-2])
    pairs = same.to(a.dtype) * CLOSED  # (..., B, B)
    pairs.diagonal(dim1=-2, dim2=-1).zero_()
    # within a view `same` is read as it is; across, the other view's rows are the candidates
    turned = pairs if own_view else pairs.transpose(-1, -2)
    pairs = torch.stack([pairs, turned], -3)[..., None, :]  # (..., 2, B, 1, B)
    return _PartnerLoss.apply(a, b, scale.to(a.dtype), present, pairs, own_view)[0]  # pyright: ignore


class _PartnerLoss(torch.autograd.Function):
    """Returns the losses (..., B) and what the way back needs of the way there."""

    @staticmethod
    def forward(
        a: Tensor, b: Tensor, scale: Tensor, present: Tensor, pairs: Tensor, own_view: bool
    ) -> tuple[Tensor, ...]:
        here = present[..., None, :, None]
        z = torch.where(here, torch.stack([a, b], -3), 0.0)  # (..., 2, B, D)
        shrink = (z * z).sum(-1, keepdim=True).add_(TINY).rsqrt_()
        shrink = torch.where(here, shrink, 0.0)  # absent rows have no gradient
        z *= shrink
        anchor = z * scale[..., None, None, None]
        absent = torch.where(present, 0.0, CLOSED).to(z.dtype)[..., None, None, None, :]
        # float32 also under autocast: at a scale of 100, bf16's 3 digits are an error of 0.4 nats
        with torch.autocast(device_type=z.device.type, enabled=False):
            score = anchor @ _candidates(z, own_view).transpose(-1, -2)  # (..., 2, B, K)
        blocks = score.unflatten(-1, (-1, z.shape[-2])).add_(pairs).add_(absent)
        if own_view:  # within a view the row itself is never scored
            blocks[..., 0, :].diagonal(dim1=-2, dim2=-1).fill_(CLOSED)
        highest = score.amax(-1)
        share = score.softmax(-1)
        # the largest share is that of the highest score, and never too small for a float
        total = (highest - share.amax(-1).log()).mean(-2)
        partner = (anchor[..., 0, :, :] * z[..., 1, :, :]).sum(-1)
        return total - partner, z, shrink, share

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)  # no zeros (..., B, K) for what has no gradient
        ctx.save_for_backward(*output[1:], inputs[2])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple:  # pyright: ignore
        if grads[0] is None:
            return (None,) * 6
        z, shrink, share, scale = ctx.saved_tensors
        slope = grads[0][..., None, :, None]  # (..., 1, B, 1)
        spread = scale[..., None, None, None]
        own_view = share.shape[-1] > z.shape[-2]
        candidates = _candidates(z, own_view)
        to_anchor = (share @ candidates).mul_(0.5).sub_(z.flip(-3), alpha=0.5).mul_(slope)
        to_scale = (to_anchor * z).sum((-3, -2, -1))
        back = share.transpose(-1, -2) @ (z * (0.5 * slope * spread))  # (..., 2, K, D)
        own, other = back.chunk(2, -2) if own_view else (0.0, back)
        to_z = (to_anchor - 0.5 * slope * z.flip(-3)) * spread + other.flip(-3) + own
        to_z = (to_z - z * (z * to_z).sum(-1, keepdim=True)) * shrink
        return (
            to_z[..., 0, :, :],
            to_z[..., 1, :, :],
            to_scale.sum_to_size(scale.shape),
            None,
            None,
            None,
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *inputs: Any) -> tuple[tuple, tuple]:
        """Returns the same of stacked inputs: the batch is one more leading dimension."""
        *tensors, own_view = inputs
        own = (2, 2, 0, 1, 4)  # dimensions of each tensor behind its leading ones
        given = list(zip(tensors, in_dims[:-1], own, strict=True))
        most = max(x.dim() - (d is not None) - n for x, d, n in given)
        a, b, *others = (_leading(x, d, most + n) for x, d, n in given)
        a, b = (x.expand(info.batch_size, *x.shape[1:]) for x in (a, b))
        return _PartnerLoss.apply(a, b, *others, own_view), (0, 0, 0, 0)  # pyright: ignore


def _candidates(z: Tensor, own_view: bool) -> Tensor:
    """Returns what each view (..., 2, B, D) is compared with (..., 2, K, D)."""
    return torch.cat([z, z.flip(-3)], -2) if own_view else z.flip(-3)


def _leading(x: Tensor, batch: int | None, dims: int) -> Tensor:
    """Returns `x` with its batch in front of `dims` others, to which it spreads from the right."""
    x = x[None] if batch is None else x.movedim(batch, 0)
    return x.reshape(x.shape[0], *[1] * (dims + 1 - x.dim()), *x.shape[1:])
