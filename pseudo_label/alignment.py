"""Class shares of the pool: bias-corrected averages, distribution alignment, prior estimation."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

import torch
from torch import Tensor


def normalise(x: Tensor) -> Tensor:
    """Returns x divided by its sum over the last axis; all-zero rows become uniform."""
    total = x.sum(-1, keepdim=True)
    return torch.where(total > 0, x / total.clamp(min=1e-30), torch.full_like(x, 1 / x.shape[-1]))


def alignment_ratio(probs: Tensor, target: Tensor, mean: Tensor | None = None) -> Tensor:
    """Returns target / mean prediction, the per-class factor of distribution alignment, (C,)."""
    mean = probs.mean(0) if mean is None else mean
    return target / mean.clamp(min=1e-6)


def align(probs: Tensor, target: Tensor, mean: Tensor | None = None) -> Tensor:
    """Returns Norm(p * target / mean prediction) (ReMixMatch, https://arxiv.org/abs/1911.09785)."""
    if not len(probs):
        return probs
    return normalise(probs * alignment_ratio(probs, target, mean))


CACHED_ROWS = 16_384  # of a few classes: they stay in a processor's cache from one use to the next


def cached_rows(table: Tensor) -> int:
    """Returns how many rows of a table are worked on at once; on a GPU all of them."""
    return CACHED_ROWS if table.device.type == "cpu" else max(len(table), 1)


def total_of(parts: Iterable[Tensor]) -> Tensor:
    """Returns the sum of one or more tensors."""
    return reduce(torch.add, parts)


SETTLED = 1e-7  # a step that moves no class share further than this ends the estimation
LOOKED = 8  # steps between two looks at whether it has, on a GPU, which each look holds up


def em_prior(probs: Tensor, source: Tensor, iterations: int = 100) -> Tensor:
    """Returns the pool's class shares by EM on calibrated probabilities (Saerens 2002), (C,).

    pi <- mean_i Norm(p_i * pi / pi_source); see also https://arxiv.org/abs/1901.06852.
    """
    source = normalise(source.double().clamp(min=1e-12))
    likelihood = probs.double() / source
    prior, blocks = source.clone(), likelihood.split(cached_rows(likelihood))
    settled = torch.zeros((), dtype=torch.bool, device=probs.device)
    every = 1 if probs.device.type == "cpu" else LOOKED
    for step in range(1, iterations + 1):
        # mean_i Norm(L_i * prior) without an (N, C) temporary: prior * L^T (1 / (L prior)) / N
        sums = [part.T @ (1 / (part @ prior).clamp(min=1e-30)) for part in blocks]
        next_ = prior * total_of(sums) / len(probs)
        still = (next_ - prior).abs().max() < SETTLED
        prior = torch.where(settled, prior, next_)  # once settled it stays, looked at or not
        settled = settled | still
        if step % every == 0 and settled:
            break
    return normalise(prior).to(probs.dtype)


def bbse_prior(probs: Tensor, gold_probs: Tensor, gold_label: Tensor) -> Tensor:
    """Returns the pool's class shares by black-box shift estimation, (C,).

    Solves C w = mu with the joint out-of-fold confusion matrix C[i, j] = P(predicted i, true j) and
    the pool's predicted shares mu, clips w >= 0 (https://arxiv.org/abs/1802.03916).
    """
    classes = probs.shape[1]
    cell = gold_probs.argmax(1) * classes + gold_label
    joint = torch.bincount(cell, minlength=classes**2).double().view(classes, classes)
    joint = joint / max(len(gold_label), 1)
    mu = torch.bincount(probs.argmax(1), minlength=classes).double() / max(len(probs), 1)
    ratio = (torch.linalg.pinv(joint) @ mu).clamp(min=0)
    return normalise(ratio * joint.sum(0)).to(probs.dtype)


def shrink_prior(estimate: Tensor, source: Tensor, rows: int, pull: float = 200.0) -> Tensor:
    """Returns the estimate pulled to the labelled shares by rows / (rows + pull), (C,)."""
    keep = rows / (rows + pull)
    return normalise(keep * estimate + (1 - keep) * normalise(source))


FARTHEST = 3.0
"""At most so many times as common, or as rare, as among labels may an estimate make a class."""


def near(estimate: Tensor, source: Tensor, farthest: float = FARTHEST) -> Tensor:
    """Returns class shares (C,) between source / farthest and source * farthest, sum 1.

    EM follows what models say, and they may say one class of everything: unbounded it once gave a
    class of 3 % of the labels 63 % of a pool of dialogue, 4 of 1,361 rows of it rightly.
    """
    source = normalise(source.double())
    low, high = source / farthest, source * farthest
    share = normalise(estimate.double())
    if bool(((share >= low) & (share <= high)).all()):
        return estimate
    share = share.clamp(low, high)
    few, many = 1 / farthest**2, farthest**2  # a scale between them brings the sum to 1
    for _ in range(60):
        scale = (few + many) / 2
        few, many = (scale, many) if (share * scale).clamp(low, high).sum() < 1 else (few, scale)
    return (share * many).clamp(low, high).to(estimate.dtype)


def running(
    state: dict[str, Tensor], key: str, x: Tensor, beta: float, start: Tensor | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Returns a moving average kept in a rule's state, and the entries to keep.

    start None: bias-corrected (the weight of what was seen is kept beside it as key.mass); else the
    published form, which begins at `start` and forgets it slowly.
    """
    old = state.get(key)
    if start is not None:
        value = beta * (start if old is None else old.to(x)) + (1 - beta) * x
        return value, {key: value}
    mass = state.get(f"{key}.mass")
    if old is None or mass is None:
        old, mass = torch.zeros_like(x), x.new_zeros(())
    value = beta * old.to(x) + (1 - beta) * x
    mass = beta * mass.to(x) + (1 - beta)
    return value / mass, {key: value, f"{key}.mass": mass}
