"""Penalised multinomial regression of all members side by side.

Letters: E members of all chains, r rows that teach, k components of a view, d components of all
views, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..batches import class_balance
from .closed_form import LinearTargets

ITERATIONS = 60  # of the solver; far fewer are usual
HISTORY = 8


def fit_logistic(given: LinearTargets) -> dict[str, Tensor]:
    """Returns the maps of every member; see `logistic`."""
    weight, gold = given.weight, given.gold_target
    if given.train.imbalance != "none":
        factor = class_balance(gold, given.train.imbalance_power)
        weight = torch.cat([weight[:, : len(gold)] * factor, weight[:, len(gold) :]], 1)
    return logistic(given.views, given.present, given.target, weight, given.model.penalty)


def logistic(
    views: list[Tensor], present: Tensor, target: Tensor, weight: Tensor, penalty: float
) -> dict[str, Tensor]:
    """Returns penalised multinomial regression on all views together, and on each alone."""
    x = torch.cat(views, 1)
    joint, bias = solve_logistic(x, target, weight, penalty)
    solved = {"prior": bias}
    start = 0
    for i, view in enumerate(views):
        stop = start + view.shape[1]
        own, own_bias = joint[:, start:stop], torch.zeros_like(bias)
        if len(views) > 1:
            own, alone = solve_logistic(view, target, weight * present[:, i], penalty)
            own_bias = alone - bias  # the model adds the prior, which holds the joint bias
        solved |= {
            f"views.{i}.own": own,
            f"views.{i}.own_bias": own_bias,
            f"views.{i}.joint": joint[:, start:stop],
            f"views.{i}.joint_bias": torch.zeros_like(bias),
        }
        start = stop
    return solved


def solve_logistic(
    x: Tensor, target: Tensor, weight: Tensor, penalty: float
) -> tuple[Tensor, Tensor]:
    """Returns weights (E, d, C) and biases (E, C) that minimise summed loss + penalty/2 |W|^2.

    L-BFGS of all E problems side by side, preconditioned with Boehning's bound on the Hessian
    (https://doi.org/10.1007/BF00048682): half the weighted second moments, the same for each class.
    """
    x = torch.cat([x, torch.ones_like(x[:, :1])], 1)
    ridge = torch.full_like(x[0], penalty)
    ridge[-1] = 1e-6 * penalty  # the bias is free
    bound = 0.5 * (x * weight[..., None]).transpose(1, 2) @ x + ridge.diag()
    size = bound.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
    steady = bound.double() + 1e-7 * size * torch.eye(x.shape[1], device=x.device)
    factor = torch.linalg.cholesky(steady).to(x)
    mass = target.sum(-1, keepdim=True)

    def slope(w: Tensor) -> tuple[Tensor, Tensor]:
        log_probs = (x @ w).log_softmax(-1)
        loss = -((log_probs * target).sum(-1) * weight).sum(-1)
        loss = loss + 0.5 * (ridge[:, None] * w * w).sum((1, 2))
        rest = (log_probs.exp() * mass - target) * weight[..., None]
        return loss, x.T @ rest + ridge[:, None] * w

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum((1, 2))

    def wide(a: Tensor) -> Tensor:
        return a[:, None, None]

    w = x.new_zeros(len(weight), x.shape[1], target.shape[2])
    loss, g = slope(w)
    enough = 1e-4 * g.abs().amax((1, 2)).clamp(min=1e-6)
    past: list[tuple[Tensor, Tensor, Tensor]] = []
    for _ in range(ITERATIONS):
        q, dots = g, []
        for s, y, r in reversed(past):
            dots.append(r * dot(s, q))
            q = q - wide(dots[-1]) * y
        q = torch.cholesky_solve(q, factor)
        for (s, y, r), a in zip(past, reversed(dots), strict=True):
            q = q + wide(a - r * dot(y, q)) * s
        step = torch.ones_like(loss)
        slack = 1e-4 * dot(g, q)
        for _ in range(6):
            new = w - wide(step) * q
            new_loss, new_g = slope(new)
            worse = new_loss > loss - step * slack + 1e-7 * loss.abs()
            if not worse.any():
                break
            step = torch.where(worse, step * 0.4, step)
        new, new_g = (torch.where(wide(worse), old, it) for old, it in ((w, new), (g, new_g)))
        s, y = new - w, new_g - g
        curved = dot(s, y)
        good = curved > 1e-12
        past.append((
            torch.where(wide(good), s, 0.0),
            torch.where(wide(good), y, 0.0),
            torch.where(good, 1 / curved.clamp(min=1e-12), 0.0),
        ))  # fmt: skip
        past = past[-HISTORY:]
        w, g, loss = new, new_g, torch.where(worse, loss, new_loss)
        if (g.abs().amax((1, 2)) <= enough).all() or worse.all():
            break
    return w[:, :-1], w[:, -1]
