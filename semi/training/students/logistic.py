"""Penalised multinomial regression of all members side by side.

Letters: E members of all chains, r rows that teach, k components of a view, d components of all
views, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..imbalance import class_balance
from .closed_form import LinearTargets

ITERATIONS = 60  # of the solver; far fewer are usual
HISTORY = 8


def fit_logistic(given: LinearTargets) -> dict[str, Tensor]:
    """Returns the maps of every member; see `logistic`."""
    weight, gold = given.weight, given.gold_target
    if given.train.imbalance != "none":
        factor = class_balance(gold, given.train.imbalance_power)
        weight = torch.cat([weight[:, : len(gold)] * factor, weight[:, len(gold) :]], 1)
    return logistic(
        given.views, given.present, given.target, weight, given.model.penalty, given.loud
    )


def logistic(
    views: list[Tensor], present: Tensor, target: Tensor, weight: Tensor, penalty: float,
    loud: list[int] | None = None,
) -> dict[str, Tensor]:  # fmt: skip
    """Returns penalised multinomial regression on all loud views together, and on each alone.

    A view that is not among `loud` (numbers; None: all are) has beside others the map it has alone,
    for it is heard alone only.
    """
    together = range(len(views)) if loud is None else loud
    joint, bias = solve_logistic(
        torch.cat([views[i] for i in together], 1), target, weight, penalty
    )
    parts = dict(zip(together, joint.split([views[i].shape[1] for i in together], 1), strict=True))
    solved = {"prior": bias}
    for i, view in enumerate(views):
        own, own_bias = parts.get(i), torch.zeros_like(bias)
        if own is None or len(views) > 1:
            own, alone = solve_logistic(view, target, weight * present[:, i], penalty)
            own_bias = alone - bias  # the model adds the prior, which holds the joint bias
        beside = parts.get(i)
        solved |= {
            f"views.{i}.own": own,
            f"views.{i}.own_bias": own_bias,
            f"views.{i}.joint": own if beside is None else beside,
            f"views.{i}.joint_bias": own_bias if beside is None else torch.zeros_like(bias),
        }
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
    problem = _Penalised(x, target, weight, ridge, target.sum(-1, keepdim=True))
    bound = 0.5 * (x * weight[..., None]).transpose(1, 2) @ x + ridge.diag()
    size = bound.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
    steady = bound.double() + 1e-7 * size * torch.eye(x.shape[1], device=x.device)
    factor = torch.linalg.cholesky(steady).to(x)

    w = x.new_zeros(len(weight), x.shape[1], target.shape[2])
    loss, g = problem.slope(w)
    enough = 1e-4 * g.abs().amax((1, 2)).clamp(min=1e-6)
    past: list[tuple[Tensor, Tensor, Tensor]] = []
    for _ in range(ITERATIONS):
        down = _direction(g, past, factor)
        new, new_loss, new_g, worse = _line_search(problem, w, loss, g, down)
        new, new_g = (torch.where(_wide(worse), old, it) for old, it in ((w, new), (g, new_g)))
        past = [*past, _curvature(new - w, new_g - g)][-HISTORY:]
        w, g, loss = new, new_g, torch.where(worse, loss, new_loss)
        if (g.abs().amax((1, 2)) <= enough).all() or worse.all():
            break
    return w[:, :-1], w[:, -1]


@dataclass
class _Penalised:
    """The E penalised regressions: what is minimised, and its slope."""

    x: Tensor  # (N, d) with a last column of ones
    target: Tensor  # (E, N, C)
    weight: Tensor  # (E, N)
    ridge: Tensor  # (d,)
    mass: Tensor  # (E, N, 1) sum of each target

    def slope(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the loss (E,) and its gradient (E, d, C) at `w`."""
        log_probs = (self.x @ w).log_softmax(-1)
        loss = -((log_probs * self.target).sum(-1) * self.weight).sum(-1)
        loss = loss + 0.5 * (self.ridge[:, None] * w * w).sum((1, 2))
        rest = (log_probs.exp() * self.mass - self.target) * self.weight[..., None]
        return loss, self.x.T @ rest + self.ridge[:, None] * w


def _direction(g: Tensor, past: list[tuple[Tensor, Tensor, Tensor]], factor: Tensor) -> Tensor:
    """Returns the way down (E, d, C): L-BFGS's two loops around the preconditioner."""
    q, dots = g, []
    for s, y, r in reversed(past):
        dots.append(r * _dot(s, q))
        q = q - _wide(dots[-1]) * y
    q = torch.cholesky_solve(q, factor)
    for (s, y, r), a in zip(past, reversed(dots), strict=True):
        q = q + _wide(a - r * _dot(y, q)) * s
    return q


def _line_search(
    problem: _Penalised, w: Tensor, loss: Tensor, g: Tensor, down: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns new weights, loss, gradient, and which problems (E,) found no lower point."""
    step = torch.ones_like(loss)
    slack = 1e-4 * _dot(g, down)
    for _ in range(6):
        new = w - _wide(step) * down
        new_loss, new_g = problem.slope(new)
        worse = new_loss > loss - step * slack + 1e-7 * loss.abs()
        if not worse.any():
            break
        step = torch.where(worse, step * 0.4, step)
    return new, new_loss, new_g, worse


def _curvature(s: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns what a step `s` and the change `y` of the gradient teach; zeros where they do not."""
    curved = _dot(s, y)
    good = curved > 1e-12
    return (
        torch.where(_wide(good), s, 0.0),
        torch.where(_wide(good), y, 0.0),
        torch.where(good, 1 / curved.clamp(min=1e-12), 0.0),
    )


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((1, 2))


def _wide(a: Tensor) -> Tensor:
    return a[:, None, None]
