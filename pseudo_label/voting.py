"""Weighted soft voting of heads, folds and seeds on calibrated probabilities.

Letters: H heads (modalities, folds, seeds), N rows, G gold rows, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .alignment import normalise
from .calibration import minimise


@dataclass
class Vote:
    """Weights of the heads and what they are worth on out-of-fold gold."""

    weights: list[float]  # (H,) on the simplex, after shrinkage
    fitted: list[float]  # (H,) before shrinkage
    shrink: float  # share of the fitted weights that was kept
    nll: float  # of the weights
    nll_uniform: float  # of equal weights, to be reported beside
    note: str = ""


def soft_vote(
    probs: Tensor, weights: Tensor | None = None, present: Tensor | None = None
) -> Tensor:
    """Returns sum_h w_h p_h with the weights renormalised over the heads a row has, (N, C).

    Args:
        probs: (H, N, C) calibrated probabilities.
        weights: (H,) non-negative; None = equal.
        present: (N, H) bool; None = all. A row without any head gets a uniform vote.
    """
    heads = probs.shape[0]
    share = probs.new_ones(heads) if weights is None else weights.to(probs)
    share = share.expand(probs.shape[1], heads)
    if present is not None:
        share = share * present.to(probs.dtype)
    # a missing head may hold anything, NaN included
    mixed = torch.einsum("nh,hnc->nc", share, probs.masked_fill((share.T == 0)[..., None], 0.0))
    return normalise(mixed)


def fit_weights(
    probs: Tensor,
    y: Tensor,
    present: Tensor | None = None,
    *,
    toward: Tensor | None = None,
    rows_per_head: float = 100.0,
    penalty: float = 0.01,
) -> Vote:
    """Returns simplex weights of least NLL on out-of-fold gold, shrunk to `toward` or equal ones.

    w = softmax(theta) minimises NLL(sum_h w_h p_h) + penalty |w - u|^2; then
    w <- (1 - a) u + a w with a = G / (G + rows_per_head * H).
    """
    heads, rows = probs.shape[0], len(y)
    uniform = torch.full((heads,), 1 / heads, dtype=torch.float64)
    start = uniform if toward is None else toward.double().cpu()
    probs = probs.detach().double().cpu()
    y = y.cpu()
    present = None if present is None else present.cpu()
    if rows == 0 or heads == 1:
        same = uniform.tolist()
        value = _vote_nll(probs, y, uniform, present) if rows else float("nan")
        note = f"equal weights: {rows} gold row{'s' * (rows != 1)}, {heads} heads"
        return Vote(same, same, 0.0, value, value, note)

    def loss(theta: Tensor) -> Tensor:
        w = theta.softmax(0)
        mixed = soft_vote(probs, w, present).gather(1, y[:, None])
        return -mixed.clamp(min=1e-12).log().mean() + penalty * ((w - uniform) ** 2).sum()

    fitted = minimise(loss, torch.zeros(heads, dtype=torch.float64))[0].softmax(0)
    keep = rows / (rows + rows_per_head * heads)
    weights = (1 - keep) * start + keep * fitted
    return Vote(
        weights=weights.tolist(),
        fitted=fitted.tolist(),
        shrink=keep,
        nll=_vote_nll(probs, y, weights, present),
        nll_uniform=_vote_nll(probs, y, uniform, present),
        note=f"fitted on {rows} gold rows, {keep:.0%} of the way from "
        + ("equal weights" if toward is None else "the weights given"),
    )


def informed_weights(probs: Tensor, y: Tensor, present: Tensor | None = None) -> Tensor:
    """Returns weights (H,) in proportion to what each head knows of gold, out-of-fold.

    What it knows is the nats per row by which it is less surprised than class shares are; a head
    that knows nothing (a text encoder where every text is the same) gets no vote. Equal weights
    would give noise as much say as sense, and a few dozen gold rows are too few to fit better ones.
    """
    heads, classes = probs.shape[0], probs.shape[2]
    probs, y = probs.detach().cpu(), y.cpu()  # few rows, of which the host asks number by number
    present = None if present is None else present.cpu()
    known = torch.zeros(heads, dtype=torch.float64)
    for h in range(heads):
        rows = torch.ones_like(y, dtype=torch.bool) if present is None else present[:, h]
        if not rows.any():
            continue
        share = torch.bincount(y[rows], minlength=classes).double() / rows.sum()
        entropy = -(share * share.clamp(min=1e-12).log()).sum()
        right = probs[h, rows].double().gather(1, y[rows, None])
        known[h] = entropy + right.clamp(min=1e-6).log().mean()
    known = torch.where(known > 0.01, known, 0.0)  # less than a hundredth of a nat is nothing
    return known / known.sum() if known.sum() > 0 else torch.full_like(known, 1 / heads)


def decision(probs: Tensor, prior: Tensor, tau: float) -> Tensor:
    """Returns argmax log p - tau log prior (logit adjustment, https://arxiv.org/abs/2007.07314)."""
    return adjust(probs, prior, tau).argmax(1)


def adjust(probs: Tensor, prior: Tensor, tau: float) -> Tensor:
    """Returns Norm(p / prior^tau), the probabilities behind the adjusted decision, (N, C)."""
    return normalise(probs / prior.clamp(min=1e-12) ** tau)


def _vote_nll(probs: Tensor, y: Tensor, weights: Tensor, present: Tensor | None) -> float:
    right = soft_vote(probs, weights, present).gather(1, y[:, None])
    return float(-right.clamp(min=1e-12).log().mean())
