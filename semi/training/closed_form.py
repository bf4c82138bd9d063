"""Linear models fitted at once, all chains and members together: no steps, no learning rate.

Letters: G chains, E members of all chains, N rows, r rows that teach, k components of a view,
d components of all views, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..config.training import TrainConfig
from .batches import TrainingTargets, class_balance
from .ensemble import Ensemble

ITERATIONS = 60  # of the logistic solver; far fewer are usual
HISTORY = 8
NEVER = -30.0  # log share of a class without rows


def fit_linear(
    ensemble: Ensemble, targets: TrainingTargets, config: TrainConfig, *, seed: int
) -> Ensemble:
    """Returns the ensemble with its linear maps solved on the targets, which hold coordinates.

    Both are as wide as the axes (`semi.training.projection`): nothing here knows the full width.
    The first member of a chain learns from the rows as weighted; each further member from a
    Bayesian bootstrap of them (weights times Exp(1) draws).
    """
    rows = torch.cat([targets.gold, targets.pseudo])
    here = targets.present[rows]
    views = [value[rows] for value in targets.values.values()]  # (r, k) each
    target, weight = targets.target[:, rows], targets.weight[:, rows]
    repeat = ensemble.count // len(weight)
    if repeat > 1:
        generator = torch.Generator(device=rows.device).manual_seed(seed)
        draw = torch.empty(repeat, len(rows), device=rows.device)
        draw = draw.exponential_(generator=generator)
        draw[0] = 1.0
        weight = (weight[:, None] * draw).flatten(0, 1)
        target = target.repeat_interleave(repeat, 0)
    if ensemble.config.kind == "discriminant":
        power = 0.0 if config.imbalance == "none" else config.imbalance_power
        solved = discriminant(views, here, target, weight, ensemble.config.shrinkage, power)
    else:
        if config.imbalance != "none":
            gold = targets.target[-1, targets.gold]
            factor = class_balance(gold, config.imbalance_power)
            weight = torch.cat([weight[:, : len(gold)] * factor, weight[:, len(gold) :]], 1)
        solved = logistic(views, here, target, weight, ensemble.config.penalty)
    params = ensemble.params | solved
    return Ensemble(ensemble.config, ensemble.dims, ensemble.classes, params, ensemble.buffers)


def discriminant(
    views: list[Tensor],
    present: Tensor,
    target: Tensor,
    weight: Tensor,
    shrinkage: float,
    power: float,
) -> dict[str, Tensor]:
    """Returns Gaussian classes of one shared covariance per view, views independent given class.

    One M step of the EM algorithm where targets are soft (Fisher's linear discriminant where they
    are hard). Shrunk as (1 - s) S + s tr(S)/k I, https://doi.org/10.1016/S0047-259X(03)00096-4.

    Args:
        views: (r, k) each.
        present: (r, M).
        target: (E, r, C) rows sum to 1.
        weight: (E, r).
        shrinkage: s.
        power: class shares enter as share ** (1 - power).
    """
    mass = (target * weight[..., None]).sum(1)  # (E, C)
    share = (mass + 1e-3) / (mass + 1e-3).sum(1, keepdim=True)
    # a class of which a chain saw no row would sit, harmless to nobody, in the middle of all others
    prior = torch.where(mass > 1e-6, (1 - power) * share.log(), NEVER)
    solved = {"prior": prior}
    for i, x in enumerate(views):
        w = weight * present[:, i]
        tw = target * w[..., None]  # (E, r, C)
        count = tw.sum(1).clamp(min=1e-6)  # (E, C)
        total = tw.transpose(1, 2) @ x  # (E, C, k)
        middle = total.sum(1) / count.sum(1)[:, None]  # stands for a class nobody has this view of
        seen = count > 1e-5
        mean = torch.where(seen[..., None], total / count[..., None], middle[:, None])
        scatter = (x * w[..., None]).transpose(1, 2) @ x
        scatter = scatter - (mean * count[..., None]).transpose(1, 2) @ mean
        scatter = scatter / count.sum(1)[:, None, None]
        size = scatter.diagonal(dim1=1, dim2=2).mean(1).clamp(min=1e-6)  # (E,)
        eye = torch.eye(x.shape[1], device=x.device)
        scatter = (1 - shrinkage) * scatter + (shrinkage * size)[:, None, None] * eye
        map_ = solve_positive(scatter, mean.transpose(1, 2))  # (E, k, C)
        rows = count.sum(1)  # a covariance of few rows looks too tight, and its answers too sure
        map_ = map_ * (rows / (rows + x.shape[1]))[:, None, None]
        bias = -0.5 * (mean.transpose(1, 2) * map_).sum(1)  # (E, C)
        for part in ("own", "joint"):
            solved[f"views.{i}.{part}"], solved[f"views.{i}.{part}_bias"] = map_, bias
    return solved


def solve_positive(square: Tensor, right: Tensor) -> Tensor:
    """Returns square^-1 right for (E, k, k) symmetric positive definite and (E, k, C).

    By Cholesky, which costs half of LU. Where float32 is too coarse for it (rounding has made an
    eigenvalue negative), a millionth of the mean diagonal is added.
    """
    factor, failed = torch.linalg.cholesky_ex(square)
    if failed.any():
        more = 1e-6 * square.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
        steady = square.double() + more * torch.eye(square.shape[1]).to(square)
        factor = torch.linalg.cholesky(steady).to(square)
    return torch.cholesky_solve(right, factor)


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
        said = (x @ w).log_softmax(-1)
        loss = -((said * target).sum(-1) * weight).sum(-1)
        loss = loss + 0.5 * (ridge[:, None] * w * w).sum((1, 2))
        rest = (said.exp() * mass - target) * weight[..., None]
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
