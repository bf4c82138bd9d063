"""Ridge regression of valence and arousal, each with its strength by answers out-of-fold.

Letters: E members of all chains, r rows that teach, n gold rows (they come first), k components of
a view, d components of all loud views, L strengths.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..affect_scale import RANGE
from .closed_form import LinearTargets
from .taken import whole

PENALTIES = tuple(10.0 ** (0.25 * i) for i in range(-4, 21))  # 0.1 to 100,000
WIDEST = 5.0  # how much wider answers are made at most
LIKELY = 1e-6  # a deviation below this is none


def no_classes(given: LinearTargets) -> dict[str, Tensor]:
    """Returns nothing: the kind `ridge` says nothing of classes."""
    return {}


def fit_ridge(given: LinearTargets) -> dict[str, Tensor]:
    """Returns the maps of valence and arousal of every member.

    One regression on all loud views together; a view that lacks adds nothing, as if it were at its
    middle. A view that is not loud has one of its own, for rows that have nothing else.
    """
    if given.affect is None:
        raise ValueError("kind ridge needs valence or arousal to learn from")
    views = [whole(view) for view in given.views]
    x = torch.cat([views[i] for i in given.loud], 1)
    joint, prior, low, high = _members(given, x, torch.ones_like(given.weight[0]))
    widths = [views[i].shape[1] for i in given.loud]
    parts = dict(zip(given.loud, joint.split(widths, 1), strict=True))
    solved = {"affect_prior": prior, RANGE: torch.stack([low, high], 1)}
    for i, view in enumerate(views):
        own, bias = parts.get(i), torch.zeros_like(prior)
        if own is None:
            own, alone, *_ = _members(given, view, given.present[:, i].to(view))
            bias = alone - prior  # the model adds the prior
        solved |= {f"views.{i}.affect": own, f"views.{i}.affect_bias": bias}
    return solved


def _members(given: LinearTargets, x: Tensor, here: Tensor) -> tuple[Tensor, ...]:
    """Returns maps (E, d, 2), biases (E, 2), and the least and largest value learned (E, 2) each.

    Args:
        given: what teaches.
        x: (r, d).
        here: (r,) 0 for rows that have not the view.
    """
    if given.affect is None:
        raise ValueError("no value to learn")
    known = ~given.affect.isnan()  # (E, r, 2)
    found = []
    for e in range(len(given.weight)):
        weight = (given.weight[e] * here)[:, None] * known[e]  # (r, 2)
        value = torch.nan_to_num(given.affect[e])
        alike = bool((weight[:, 0] == weight[:, 1]).all())
        every = [slice(0, 2)] if alike else [slice(0, 1), slice(1, 2)]
        parts = [
            ridge(x, value[:, at], weight[:, at.start], given.part, given.model.widen)
            for at in every
        ]
        gold = weight[: len(given.part)] > 0
        seen = value[: len(given.part)]
        some = gold.any(0)
        low = torch.where(gold, seen, torch.inf).amin(0).where(some, -torch.inf)
        high = torch.where(gold, seen, -torch.inf).amax(0).where(some, torch.inf)
        found.append((
            torch.cat([p[0] for p in parts], 1), torch.cat([p[1] for p in parts]), low, high,
        ))  # fmt: skip
    return tuple(torch.stack(each) for each in zip(*found, strict=True))


def ridge(
    x: Tensor, value: Tensor, weight: Tensor, part: Tensor, widen: bool,
    penalties: tuple[float, ...] = PENALTIES,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Returns the map (d, T) and bias (T,) of T targets, each with the strength that suits it.

    What is minimised is the weighted sum of squared errors + penalty |w|^2. The strength is that of
    the answers, each from the fit without that row's part (in closed form, nothing is fitted anew),
    which correlate best with the truth; then they are widened to its deviation, at which the CCC of
    answers of the same mean is their correlation. Not widened: that of the least squared error.

    Args:
        x: (r, d) rows; gold rows come first.
        value: (r, T).
        weight: (r,) 0 = not learned from.
        part: (n,) of the gold rows, left out together.
        widen: spread the answers as widely as the truth.
        penalties: L of them.
    """
    used = weight > 0
    if not bool(used.any()):
        return x.new_zeros(x.shape[1], value.shape[1]), x.new_zeros(value.shape[1])
    gold = used[: len(part)]
    fits = _Fits.of(x[used].double(), value[used].double(), weight[used].double(), penalties)
    count = int(gold.sum())
    left_out = fits.left_out(_parts(part[gold]))  # (L, n, T)
    truth, w = value[used][:count].double(), weight[used][:count].double()[:, None]
    best, factor = [], []
    for t in range(value.shape[1]):
        score, wide = _scored(left_out[..., t], truth[:, t], w[:, 0])
        if not widen:
            score = -(w * (left_out[..., t].T - truth[:, t : t + 1]).square()).sum(0)
        at = int(score.argmax())
        best.append(at)
        factor.append(float(wide[at]) if widen else 1.0)
    map_, bias = fits.at(best, x.new_tensor(factor, dtype=torch.float64))
    return map_.to(x), bias.to(x)


def _parts(part: Tensor) -> Tensor:
    """Returns the parts (n,), each row its own where all are of one."""
    return part if len(part.unique()) > 1 else torch.arange(len(part), device=part.device)


def _scored(answers: Tensor, truth: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the correlation (L,) of answers (L, n) with the truth (n,), and the factor (L,).

    By the factor they come to spread as widely as the truth; 1 where they say nothing of it.
    """
    share = weight / weight.sum().clamp(min=LIKELY)

    def middled(v: Tensor) -> Tensor:
        return v - (v * share).sum(-1, keepdim=True)

    a, b = middled(answers), middled(truth)
    spread = ((a * a * share).sum(-1).sqrt(), (b * b * share).sum(-1).sqrt())
    both = spread[0] * spread[1]
    found = (a * b * share).sum(-1) / both.clamp(min=LIKELY**2)
    found = torch.where(both > LIKELY**2, found, -1.0)
    wide = (spread[1] / spread[0].clamp(min=LIKELY)).clamp(1.0, WIDEST)
    return found, torch.where(found > 0, wide, 1.0)


def _without(a: Tensor, error: Tensor) -> Tensor:
    """Returns (I - a a')^-1 error of (n, m) and (n, T), by the smaller of two systems."""
    rows, width = a.shape
    eye = (1 + 1e-9) * torch.eye(min(rows, width)).to(a)  # a part that decides all: not quite I
    if rows <= width:
        return torch.linalg.solve(eye - a @ a.T, error)
    return error + a @ torch.linalg.solve(eye - a.T @ a, a.T @ error)


@dataclass
class _Fits:
    """One weighted regression at L strengths, by one decomposition."""

    root: Tensor  # (r,) square root of the weights
    left: Tensor  # (r, m) orthonormal
    size: Tensor  # (m,) singular values
    right: Tensor  # (m, d) orthonormal
    middle: Tensor  # (d,) mean row
    mean: Tensor  # (T,) mean value
    value: Tensor  # (r, T)
    kept: Tensor  # (L, m) what shrinkage leaves of each direction
    turned: Tensor  # (m, T) the values along the directions

    @classmethod
    def of(cls, x: Tensor, value: Tensor, weight: Tensor, penalties: tuple[float, ...]) -> _Fits:
        """Returns the regression of (r, d) on (r, T) under weights (r,)."""
        share, root = weight / weight.sum(), weight.sqrt()
        middle, mean = share @ x, share @ value
        left, size, right = torch.linalg.svd(root[:, None] * (x - middle), full_matrices=False)
        square = size.square()
        kept = torch.stack([square / (square + penalty) for penalty in penalties])
        turned = left.T @ (root[:, None] * (value - mean))
        return cls(root, left, size, right, middle, mean, value, kept, turned)

    def left_out(self, part: Tensor) -> Tensor:
        """Returns (L, n, T): the answers to the first n rows, each fitted without its part (n,).

        A linear smoother with a free mean: the error without a part is (I - H_pp)^-1 of the error,
        where H = A D A' of the directions and the mean.
        """
        n, total = len(part), self.root.square().sum()
        root = self.root[:n]
        a = torch.cat([self.left[:n], (root / total.sqrt())[:, None]], 1)  # (n, m + 1)
        kept = torch.cat([self.kept, torch.ones_like(self.kept[:, :1])], 1)  # (L, m + 1)
        fitted = self.left[:n] @ (self.kept[..., None] * self.turned)
        error = root[:, None] * (self.value[:n] - self.mean) - fitted  # (L, n, T)
        answers = torch.empty_like(error)
        for p in part.unique():
            at = (part == p).nonzero()[:, 0]
            without = torch.stack(
                [_without(a[at] * k.sqrt(), e) for k, e in zip(kept, error[:, at], strict=True)]
            )
            answers[:, at] = self.value[at] - without / root[at, None]
        return answers

    def at(self, best: list[int], factor: Tensor) -> tuple[Tensor, Tensor]:
        """Returns maps (d, T) and biases (T,) at the strength of each target, made wider."""
        kept = self.kept[best].T  # (m, T)
        some = self.size > 1e-10 * self.size.amax().clamp(min=1e-30)
        inverse = torch.where(some, 1 / self.size.clamp(min=1e-30), 0.0)
        map_ = self.right.T @ (inverse[:, None] * kept * self.turned) * factor
        return map_, self.mean - self.middle @ map_
