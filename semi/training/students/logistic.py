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
LOOK_EVERY = 6  # iterations between two looks of the host, on a GPU
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
    at, i, last = _Point(w, loss, g, []), 0, False
    while i < ITERATIONS and not last:
        if i in ANEW:
            inverse, at.past = problem.inverse(problem.bend(probs)), []
        ahead = min(LOOK_EVERY, min(stop for stop in (*ANEW, ITERATIONS) if stop > i) - i)
        search = _Search(problem, inverse, enough)
        at, probs, done, last = search.ahead(at, 1 if x.device.type == "cpu" else ahead)
        i += done
    w = at.w.transpose(1, 2).contiguous()
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


@dataclass
class _Point:
    """Where the E problems stand, and what their last steps taught."""

    w: Tensor  # (E, C, d)
    loss: Tensor  # (E,)
    g: Tensor  # (E, C, d) the gradient
    past: list[tuple[Tensor, Tensor, Tensor]]  # see _curvature


@dataclass
class _Search:
    """The way from one point to the next, by one preconditioner."""

    problem: _Penalised
    inverse: Tensor  # (d, d)
    enough: Tensor  # (E,) a slope that is flat

    def ahead(self, at: _Point, count: int) -> tuple[_Point, Tensor, int, bool]:
        """Returns where up to `count` iterations lead; probabilities, how many, and whether to end.

        The probabilities are the last trial's, times the mass. The first trials, nearly
        always good, are made one after the other before the host looks at all of them: on a GPU a
        look is a wait. What follows one that was not good is dropped.
        """
        if count == 1:
            point, probs, last = self.line(at)
            return point, probs, 1, last
        points, seen = [at], []
        for _ in range(count):
            here = points[-1]
            down = self.direction(here)
            point, probs, _, facts = self.trial(here, down, torch.ones_like(here.loss))
            points.append(point)
            seen.append(facts)
        for i, (some, _, done) in enumerate(torch.stack(seen).tolist()):
            if some:
                point, probs, last = self.line(points[i])
                return point, probs, i + 1, last
            if done:
                return points[i + 1], probs, i + 1, True
        return points[-1], probs, count, False

    def line(self, at: _Point) -> tuple[_Point, Tensor, bool]:
        """Returns the next point, the last trial's probabilities, and whether to end.

        The host looks once a trial.
        """
        down, step = self.direction(at), torch.ones_like(at.loss)
        for _ in range(6):
            point, probs, worse, facts = self.trial(at, down, step)
            some, every, done = facts.tolist()
            if not some:
                break
            step = torch.where(worse, step * 0.4, step)
        return point, probs, done or every

    def direction(self, at: _Point) -> Tensor:
        """Returns the way down (E, C, d): L-BFGS's two loops around the preconditioner."""
        q, dots = at.g, []
        for s, y, r in reversed(at.past):
            dots.append(r * _dot(s, q))
            q = q - _wide(dots[-1]) * y
        q = (q.flatten(0, 1) @ self.inverse).view_as(q)
        for (s, y, r), a in zip(at.past, reversed(dots), strict=True):
            q = q + _wide(a - r * _dot(y, q)) * s
        return q

    def trial(
        self, at: _Point, down: Tensor, step: Tensor
    ) -> tuple[_Point, Tensor, Tensor, Tensor]:
        """Returns the point a step (E,) down, its probabilities x mass, `worse` (E,) and facts.

        Problems that do not get lower are `worse` and stay where they are. The facts (3,) are what
        the host must know: whether some are worse, whether all are, and whether all are flat.
        """
        new = at.w - _wide(step) * down
        loss, g, probs = self.problem.slope(new)
        worse = loss > at.loss - step * (1e-4 * _dot(at.g, down)) + 1e-7 * at.loss.abs()
        new, loss = torch.where(_wide(worse), at.w, new), torch.where(worse, at.loss, loss)
        g = torch.where(_wide(worse), at.g, g)
        flat = g.abs().amax((1, 2)) <= self.enough
        past = [*at.past, _curvature(new - at.w, g - at.g)][-HISTORY:]
        facts = torch.stack([worse.any(), worse.all(), flat.all()])
        return _Point(new, loss, g, past), probs, worse, facts


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
