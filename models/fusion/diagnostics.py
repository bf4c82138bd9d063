"""How good embeddings are, in numbers that need no labels (..., B, D); no gradients.

A collapsed or merely spread-out space shows here long before it shows in accuracy.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..losses.reduce import exact, keep_rows, row_weight, unit, weighted_mean


@torch.no_grad()
def retrieval(a: Tensor, b: Tensor, valid: Tensor | None = None) -> Tensor:
    """Returns the share of rows whose nearest row in the other view is their partner (...).

    Mean of both directions; `valid` (..., B) names the rows that take part.
    """
    w = row_weight(a[..., 0], None, valid)
    score = unit(keep_rows(exact(a), w)) @ unit(keep_rows(exact(b), w)).transpose(-1, -2)
    rows = torch.arange(a.shape[-2], device=a.device)
    forth = score.masked_fill((w == 0)[..., None, :], -2.0).argmax(-1) == rows
    back = score.masked_fill((w == 0)[..., :, None], -2.0).argmax(-2) == rows
    return weighted_mean(0.5 * (forth.to(w.dtype) + back.to(w.dtype)), w)


@torch.no_grad()
def alignment(a: Tensor, b: Tensor, valid: Tensor | None = None) -> Tensor:
    """Returns the mean squared distance of partners on the unit sphere: 0 is perfect, 2 random.

    https://arxiv.org/abs/2005.10242
    """
    w = row_weight(a[..., 0], None, valid)
    gap = unit(keep_rows(exact(a), w)) - unit(keep_rows(exact(b), w))
    return weighted_mean(gap.square().sum(-1), w)


@torch.no_grad()
def uniformity(x: Tensor, valid: Tensor | None = None) -> Tensor:
    """Returns log mean exp(-2 |z_i - z_j|^2) over pairs: near -4 is spread out, > -1 collapse."""
    w = row_weight(x[..., 0], None, valid)
    z = unit(keep_rows(exact(x), w))
    distance = (2 - 2 * z @ z.transpose(-1, -2)).clamp(min=0)
    pair = w[..., :, None] * w[..., None, :]
    pair = pair * ~torch.eye(x.shape[-2], dtype=torch.bool, device=x.device)
    total = pair.sum((-1, -2))
    mean = (pair * (-2 * distance).exp()).sum((-1, -2)) / torch.where(total > 0, total, 1.0)
    return torch.where(total > 0, mean, 1.0).log()


@torch.no_grad()
def effective_rank(x: Tensor, valid: Tensor | None = None) -> Tensor:
    """Returns exp of the entropy of the normalised singular values of centred `x`; 1 to D.

    RankMe, https://arxiv.org/abs/2210.02885; alert below a tenth of D.
    """
    w = row_weight(x[..., 0], None, valid)
    x = keep_rows(exact(x), w)
    centre = weighted_mean(x.transpose(-1, -2), w[..., None, :].expand(x.mT.shape))
    size = torch.linalg.svdvals((x - centre[..., None, :]) * w[..., None])
    share = size / size.sum(-1, keepdim=True).clamp(min=1e-12)
    return (-(share * share.clamp(min=1e-12).log()).sum(-1)).exp()
