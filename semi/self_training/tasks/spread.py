"""What rounds by the spread of the members have in common: rank and trust.

Letters: G chains, P pool rows.
"""

from __future__ import annotations

import torch
from torch import Tensor


def top(score: Tensor, among: Tensor, rate: float, tie: Tensor, *, of_part: bool = False) -> Tensor:
    """Returns which rows of `among` (G, P) are the best by score: `rate` of all P, or of them."""
    order = tie.argsort(stable=True)  # equal scores: by the hash of the id
    ranked = score.masked_fill(~among, -torch.inf)[:, order]
    place = ranked.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    rank = torch.empty_like(place).scatter_(1, order.expand_as(place), place)
    size = among.sum(1, keepdim=True) if of_part else among.shape[1]
    limit = rate * torch.as_tensor(size, device=score.device)
    return among & (rank < torch.ceil(limit))


def trust(spread: Tensor, chosen: Tensor) -> Tensor:
    """Returns (G, P) weights s0^2 / (s^2 + s0^2), s0 the median spread of what is chosen."""
    middle = spread.masked_fill(~chosen, torch.nan).nanmedian(1, keepdim=True).values
    middle = torch.nan_to_num(middle, nan=1.0).clamp(min=1e-6)
    return middle.square() / (spread.square() + middle.square())
