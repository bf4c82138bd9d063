"""Calibration of class probabilities on out-of-fold gold: shrunk where there is little of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .alignment import normalise
from .pool import unknown

METHODS = ("none", "temperature", "vector", "dirichlet", "isotonic")
VECTOR_ROWS = 40  # gold rows per class from which auto tries vector scaling
DIRICHLET_ROWS = 40  # gold rows per class and class from which auto tries Dirichlet


@dataclass
class Calibration:
    """A fitted map from logits (N, C) to probabilities (N, C); holds plain numbers only."""

    method: str = "none"  # one of METHODS
    temperature: float = 1.0
    weight: list[list[float]] = field(default_factory=list)  # (C, C), or (1, C) for vector
    bias: list[float] = field(default_factory=list)  # (C,)
    knots: list[list[list[float]]] = field(default_factory=list)  # isotonic: per class [x, y]
    rows: int = 0  # gold rows it was fitted on
    note: str = ""  # what was fitted and why

    def apply(self, logits: Tensor) -> Tensor:
        """Returns calibrated probabilities; log-probabilities serve as logits."""
        if self.method == "vector":
            return (
                logits * logits.new_tensor(self.weight[0]) + logits.new_tensor(self.bias)
            ).softmax(-1)
        if self.method == "dirichlet":
            x = logits.log_softmax(-1)
            return (x @ x.new_tensor(self.weight).T + x.new_tensor(self.bias)).softmax(-1)
        probs = (logits / self.temperature).softmax(-1)
        if self.method == "isotonic":
            columns = [_interpolate(probs[..., c], *k) for c, k in enumerate(self.knots)]
            return normalise(torch.stack(columns, -1).clamp(min=1e-6))
        return probs

    def state_dict(self) -> dict[str, Any]:
        """Returns a JSON-able dict."""
        return dict(vars(self))

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Calibration:
        """Returns the calibration that state_dict() wrote."""
        return cls(**state)


def fit_calibration(
    logits: Tensor,
    y: Tensor,
    method: str = "auto",
    *,
    n_shrink: float = 50.0,
    group: Tensor | None = None,
) -> Calibration:
    """Returns a calibration fitted on out-of-fold logits (G, C) and gold labels (G,).

    auto tries the methods that the number of rows can carry and keeps the one of least
    cross-validated NLL; on a tie the simpler. `.note` says which and why.

    Args:
        logits: out-of-fold logits or log-probabilities.
        y: gold labels.
        method: auto or one of METHODS.
        n_shrink: rows at which log temperature is half trusted.
        group: (G,) numbers of speakers, kept together when auto compares.
    """
    rows, classes = logits.shape
    logits = logits.detach().double().cpu()
    y = y.cpu()
    if method == "auto":
        method, note = _pick(logits, y, n_shrink, group)
    elif method not in METHODS:
        raise ValueError(unknown("method", method, ("auto", *METHODS)))
    else:
        note = f"{method} as asked, {rows} gold row{'s' * (rows != 1)}"
    if rows == 0 or classes < 2 or method == "none":
        why = f"no calibration: {rows} gold row{'s' * (rows != 1)}, {classes} classes"
        return Calibration(rows=rows, note=note if method == "none" and rows else why)
    fitted = _FITTERS[method](logits, y, n_shrink)
    fitted.method, fitted.rows, fitted.note = method, rows, note
    return fitted


def fit_temperature(
    logits: Tensor, y: Tensor, n_shrink: float = 50.0, low: float = 0.1, high: float = 10.0
) -> Tensor:
    """Returns the temperature T of least NLL of softmax(logits / T), shrunk to 1 for few rows, ().

    log T is multiplied by n / (n + n_shrink) (https://arxiv.org/abs/1706.04599 for the method).
    A grid in log T, then three finer ones around its best point: no optimiser that can fail.
    """
    n, device = len(y), logits.device
    if n == 0 or logits.shape[1] < 2:
        return torch.ones((), dtype=torch.float32, device=device)
    logits, y = logits.detach().cpu(), y.cpu()  # few rows, of which the host asks number by number
    own = logits.double().gather(1, y[:, None])[:, 0]
    other = (logits.double().T - own).contiguous()  # (C, n): NLL is the log of their summed exp
    centre, half = (math.log(low) + math.log(high)) / 2, (math.log(high) - math.log(low)) / 2
    for _ in range(4):
        grid = torch.linspace(centre - half, centre + half, 21, dtype=torch.float64).tolist()
        at = _lowest(lambda i: float(_log_sum(other * math.exp(-grid[i])).mean()), len(grid))  # noqa: B023
        centre, half = grid[at], half / 8
    centre = min(max(centre, math.log(low)), math.log(high))
    return torch.tensor(math.exp(centre * n / (n + n_shrink)), device=device)


def _lowest(loss: Callable[[int], float], count: int) -> int:
    """Returns the first of `count` points where a loss that falls and then rises is least.

    The NLL is convex in 1 / T, so it does; a third of the points has to be asked.
    """
    known: dict[int, float] = {}

    def at(i: int) -> float:
        if i not in known:
            known[i] = loss(i)
        return known[i]

    low, high = 0, count - 1
    while low < high:
        middle = (low + high) // 2
        if at(middle) <= at(middle + 1):
            high = middle
        else:
            low = middle + 1
    return low


def _log_sum(x: Tensor) -> Tensor:
    """Returns the log of the summed exp of each column (n,); torch's is slow over few rows."""
    top = x.amax(0)
    return (x - top).exp().sum(0).log() + top


def _temperature(logits: Tensor, y: Tensor, n_shrink: float) -> Calibration:
    return Calibration(temperature=float(fit_temperature(logits, y, n_shrink)))


def _vector(logits: Tensor, y: Tensor, n_shrink: float) -> Calibration:
    """Scale and shift per class (1706.04599), pulled to plain temperature scaling."""
    start = 1 / float(fit_temperature(logits, y, n_shrink))
    classes = logits.shape[1]
    scale = torch.full((classes,), start, dtype=torch.float64)
    pull = n_shrink / (20 * max(len(y), 1))

    def loss(s: Tensor, b: Tensor) -> Tensor:
        penalty = ((s / start - 1) ** 2).mean() + (b**2).mean()
        return F.cross_entropy(logits * s + b, y) + pull * penalty

    s, b = minimise(loss, scale, torch.zeros(classes, dtype=torch.float64))
    return Calibration(weight=[s.tolist()], bias=(b - b.mean()).tolist())


def _dirichlet(logits: Tensor, y: Tensor, n_shrink: float) -> Calibration:
    """Linear map of log-probabilities with a pull on off-diagonal terms and bias.

    Dirichlet calibration with ODIR (https://arxiv.org/abs/1910.12656).
    """
    x = logits.log_softmax(-1)
    start = 1 / float(fit_temperature(logits, y, n_shrink))
    classes = logits.shape[1]
    off = 1 - torch.eye(classes, dtype=torch.float64)
    pull = n_shrink / max(len(y), 1)

    def loss(w: Tensor, b: Tensor) -> Tensor:
        penalty = (w * off).pow(2).sum() / max(classes * (classes - 1), 1) + (b**2).mean()
        return F.cross_entropy(x @ w.T + b, y) + pull * penalty

    w, b = minimise(
        loss,
        start * torch.eye(classes, dtype=torch.float64),
        torch.zeros(classes, dtype=torch.float64),
    )
    return Calibration(weight=w.tolist(), bias=b.tolist())


def _isotonic(logits: Tensor, y: Tensor, n_shrink: float) -> Calibration:
    """One monotone step function per class against the rest, after temperature scaling."""
    from sklearn.isotonic import IsotonicRegression

    temperature = float(fit_temperature(logits, y, n_shrink))
    probs = (logits / temperature).softmax(-1)
    knots = []
    for c in range(logits.shape[1]):
        fit = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
        fit.fit(probs[:, c].numpy(), (y == c).double().numpy())
        knots.append([fit.X_thresholds_.tolist(), fit.y_thresholds_.tolist()])
    return Calibration(temperature=temperature, knots=knots)


_FITTERS = {
    "temperature": _temperature,
    "vector": _vector,
    "dirichlet": _dirichlet,
    "isotonic": _isotonic,
}


def _pick(logits: Tensor, y: Tensor, n_shrink: float, group: Tensor | None) -> tuple[str, str]:
    """Returns the method for auto and the sentence that explains it."""
    rows, classes = logits.shape
    smallest = int(torch.bincount(y, minlength=classes).min()) if rows else 0
    candidates = ["temperature"]
    if smallest >= VECTOR_ROWS:
        candidates.append("vector")
    if smallest >= DIRICHLET_ROWS * classes:
        candidates.append("dirichlet")
    if len(candidates) == 1:
        return "temperature", (
            f"temperature, shrunk by {rows} / ({rows} + {n_shrink:g}): {rows} gold rows "
            f"({smallest} of the rarest class) carry no more"
        )
    fold = _folds(rows, group)
    score = {m: _cross_validated(logits, y, m, n_shrink, fold) for m in candidates}
    best = min(score.values())
    method = next(m for m in candidates if score[m] <= best + 1e-3)
    shown = ", ".join(f"{m} {v:.4f}" for m, v in score.items())
    return method, f"{method}: cross-validated NLL on {rows} gold rows: {shown}"


def _folds(rows: int, group: Tensor | None, count: int = 5) -> Tensor:
    if group is not None and len(group.unique()) >= count:
        return group.cpu().unique(return_inverse=True)[1] % count
    return torch.randperm(rows, generator=torch.Generator().manual_seed(0)) % count


def _cross_validated(
    logits: Tensor, y: Tensor, method: str, n_shrink: float, fold: Tensor
) -> float:
    total = 0.0
    for k in range(int(fold.max()) + 1):
        held = fold == k
        fitted = _FITTERS[method](logits[~held], y[~held], n_shrink)
        fitted.method = method
        right = fitted.apply(logits[held]).gather(1, y[held][:, None])
        total -= float(right.clamp(min=1e-12).log().sum())
    return total / len(y)


def minimise(loss: Any, *start: Tensor) -> list[Tensor]:
    """Returns the minimiser of a smooth loss of float64 tensors by L-BFGS.

    scipy's, because the first step of any torch.optim optimiser imports the compiler: seconds.
    """
    from scipy.optimize import minimize

    sizes = [s.numel() for s in start]

    def parts(flat: Tensor) -> list[Tensor]:
        return [p.view_as(s) for p, s in zip(flat.split(sizes), start, strict=True)]

    def value_and_slope(x: Any) -> tuple[float, Any]:
        with torch.enable_grad():
            flat = torch.tensor(x, dtype=torch.float64, requires_grad=True)
            value = loss(*parts(flat))
            slope = torch.autograd.grad(value, flat)[0]
        return float(value.detach()), slope.numpy()

    begin = torch.cat([s.reshape(-1) for s in start]).numpy()
    found = minimize(value_and_slope, begin, jac=True, method="L-BFGS-B", options={"maxiter": 500})
    return parts(torch.tensor(found.x, dtype=torch.float64))


def _interpolate(x: Tensor, knots: list[float], values: list[float]) -> Tensor:
    """Piecewise linear interpolation, constant outside."""
    kx, ky = x.new_tensor(knots), x.new_tensor(values)
    if len(knots) < 2:
        return torch.full_like(x, values[0])
    at = torch.searchsorted(kx, x.contiguous()).clamp(1, len(knots) - 1)
    left, right = kx[at - 1], kx[at]
    share = ((x - left) / (right - left).clamp(min=1e-12)).clamp(0, 1)
    return ky[at - 1] + share * (ky[at] - ky[at - 1])
