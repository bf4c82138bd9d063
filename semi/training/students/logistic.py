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
from .taken import whole

ITERATIONS = 200  # of the solver; 20 to 50 are usual
ANEW = (6, 12, 24, 48, 96)  # iterations before which the preconditioner is made anew
HISTORY = 5
CONVERGED = 1e-4  # of the steepest slope at the start


def fit_logistic(given: LinearTargets) -> dict[str, Tensor]:
    """Returns the maps of every member; see `logistic`."""
    weight, gold = given.weight, given.gold_target
    if given.train.imbalance != "none":
        factor = class_balance(gold, given.train.imbalance_power)
        weight = torch.cat([weight[:, : len(gold)] * factor, weight[:, len(gold) :]], 1)
    return logistic(
        [whole(view) for view in given.views],
        given.present,
        whole(given.target),
        weight,
        given.model.penalty,
        given.loud,
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

    L-BFGS of all E problems side by side. It is preconditioned by one matrix for all of them and
    every class: first Boehning's bound on the Hessian, half the weighted second moments
    (https://doi.org/10.1007/BF00048682), later what the Hessian is at most where the models are.
    Rows that a model is sure of bend the loss no more, so the second is three times as fast.
    """
    x = torch.cat([x, torch.ones_like(x[:, :1])], 1)
    ridge = torch.full_like(x[0], penalty)
    ridge[-1] = 1e-6 * penalty  # the bias is free
    aim = (target * weight[..., None]).transpose(1, 2).contiguous()
    problem = _Penalised(x, aim, aim.sum(1), ridge)

    w = x.new_zeros(len(aim), aim.shape[1], x.shape[1])
    loss, g, probs = problem.slope(w)
    enough = CONVERGED * g.abs().amax((1, 2)).clamp(min=1e-6)
    inverse = problem.inverse(0.5 * problem.mass.amax(0))
    past: list[tuple[Tensor, Tensor, Tensor]] = []
    for i in range(ITERATIONS):
        if i in ANEW:
            inverse, past = problem.inverse(problem.bend(probs)), []
        down = _direction(g, past, inverse)
        new, loss, new_g, probs, last = _line_search(problem, (w, loss, g), down, enough)
        past = [*past, _curvature(new - w, new_g - g)][-HISTORY:]
        w, g = new, new_g
        if last:
            break
    w = w.transpose(1, 2).contiguous()
    return w[:, :-1], w[:, -1]


@dataclass
class _Penalised:
    """The E penalised regressions: what is minimised, and its slope.

    All maps lie in one matrix (E C, d) and rows come last: one product for all of them.
    """

    x: Tensor  # (N, d) with a last column of ones
    aim: Tensor  # (E, C, N) targets times the weights of the rows
    mass: Tensor  # (E, N) sum of each target times its weight
    ridge: Tensor  # (d,)

    def slope(self, w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns at `w` (E, C, d) the loss (E,), its gradient, and probabilities x mass."""
        log_probs = (w.flatten(0, 1) @ self.x.T).view_as(self.aim).log_softmax(1)
        loss = 0.5 * (self.ridge * w * w).sum((1, 2)) - _dot(log_probs, self.aim)
        probs = log_probs.exp_().mul_(self.mass[:, None])
        rest = (probs - self.aim).flatten(0, 1)
        return loss, (rest @ self.x).view_as(w) + self.ridge * w, probs

    def bend(self, probs: Tensor) -> Tensor:
        """Returns (N,) how far each row bends the loss at most, in mean over the problems.

        The largest eigenvalue of diag(p) - p p' is at most its trace, 1 - |p|^2.
        """
        own = self.mass - probs.square().sum(1) / self.mass.clamp(min=1e-12)  # (E, N)
        return own.sum(0) / (self.mass > 0).sum(0).clamp(min=1)

    def inverse(self, bend: Tensor) -> Tensor:
        """Returns the inverse (d, d) of the Hessian that rows of such `bend` (N,) would have."""
        square = ((self.x * bend[:, None]).T @ self.x + self.ridge.diag()).double()
        square.diagonal().add_(1e-7 * square.diagonal().mean())
        return torch.cholesky_inverse(torch.linalg.cholesky(square)).to(self.x)


def _direction(g: Tensor, past: list[tuple[Tensor, Tensor, Tensor]], inverse: Tensor) -> Tensor:
    """Returns the way down (E, C, d): L-BFGS's two loops around the preconditioner."""
    q, dots = g, []
    for s, y, r in reversed(past):
        dots.append(r * _dot(s, q))
        q = q - _wide(dots[-1]) * y
    q = (q.flatten(0, 1) @ inverse).view_as(q)
    for (s, y, r), a in zip(past, reversed(dots), strict=True):
        q = q + _wide(a - r * _dot(y, q)) * s
    return q


def _line_search(
    problem: _Penalised, start: tuple[Tensor, Tensor, Tensor], down: Tensor, enough: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, bool]:
    """Returns new weights, what `slope` says of them, and whether nothing more is to be gained.

    A problem that does not get lower stays at its start (w, loss, gradient). All that the host must
    know is read at once: on a GPU it waits once a trial, and the first trial is nearly always good.
    """
    w, loss, g = start
    step = torch.ones_like(loss)
    slack = 1e-4 * _dot(g, down)
    for _ in range(6):
        new = w - _wide(step) * down
        new_loss, new_g, probs = problem.slope(new)
        worse = new_loss > loss - step * slack + 1e-7 * loss.abs()
        slope = torch.where(_wide(worse), g, new_g)
        flat = slope.abs().amax((1, 2)) <= enough
        some, every, done = torch.stack([worse.any(), worse.all(), flat.all()]).tolist()
        if not some:
            break
        step = torch.where(worse, step * 0.4, step)
    new, new_loss = torch.where(_wide(worse), w, new), torch.where(worse, loss, new_loss)
    return new, new_loss, slope, probs, done or every


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
    return torch.linalg.vecdot(a.flatten(1), b.flatten(1))


def _wide(a: Tensor) -> Tensor:
    return a[:, None, None]
