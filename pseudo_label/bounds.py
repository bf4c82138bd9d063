"""Precision that out-of-fold gold can promise: Clopper-Pearson thresholds per class."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .pool import NEVER


@dataclass
class Bound:
    """Thresholds above which the precision is certified, and what that is worth."""

    threshold: Tensor  # (C,) lowest certified confidence; 2.0 = nothing certified
    lower: Tensor  # (C,) Clopper-Pearson lower bound of the certified prefix; 0 = nothing certified
    rows: Tensor  # (C,) int64, gold rows predicted as the class
    note: str = ""
    uncertified: list[int] = field(default_factory=list)


def rows_needed(target: float, alpha: float = 0.05) -> int:
    """Returns how many rows without one error certify `target`: target^n <= alpha."""
    return math.ceil(math.log(alpha) / math.log(target) - 1e-9)


def lower_bound(correct: Tensor, rows: Tensor, alpha: float) -> Tensor:
    """Returns the exact one-sided Clopper-Pearson lower bound of the success rate."""
    from scipy.stats import beta

    k = correct.double().cpu().numpy()
    n = rows.double().cpu().numpy()
    low = beta.ppf(alpha, k.clip(1e-9), n - k + 1)
    return torch.as_tensor(low, dtype=torch.float64).masked_fill(correct.cpu() <= 0, 0.0)


def precision_thresholds(
    probs: Tensor,
    label: Tensor,
    target: float,
    *,
    alpha: float = 0.05,
    mode: str = "search",
    first: int = 20,
    grow: float = 1.4,
    classes: list[str] | None = None,
) -> Bound:
    """Returns per class the largest confidence prefix of gold whose lower bound reaches `target`.

    `alpha` is the risk that the certificate of any class is wrong; each class gets alpha / C of it.
    search tests every prefix of at least `first` rows (violations stay near alpha in simulation);
    fixed_sequence tests prefixes first, first * grow, ... and stops at the first failure, which
    keeps the risk at alpha strictly. A prefix ends only where the confidence changes: a threshold
    cannot take half of a tie.
    """
    count = probs.shape[1]
    names = classes or [str(c) for c in range(count)]
    share = alpha / count
    confidence, predicted = probs.max(1)
    tau = torch.full((count,), NEVER, dtype=probs.dtype, device=probs.device)
    low = torch.zeros(count, dtype=torch.float64)
    rows = torch.bincount(predicted, minlength=count).cpu()
    for c in range(count):
        value, order = confidence[predicted == c].sort(descending=True, stable=True)
        right = (label[predicted == c][order] == c).cumsum(0)
        size = torch.arange(1, len(value) + 1)
        ends = torch.ones(len(value), dtype=torch.bool)
        ends[:-1] = (value[1:] != value[:-1]).cpu()
        tested = _tested(ends, first, grow, mode)
        if not len(tested):
            continue
        bound = lower_bound(right.cpu()[tested], size[tested], share)
        good = bound >= target
        if mode == "fixed_sequence":
            good = good.long().cumprod(0).bool()
        if good.any():
            best = int(good.nonzero().max())
            tau[c], low[c] = value[tested[best]], bound[best]
    return Bound(tau, low, rows, *_note(tau, rows, names, target, alpha))


def _tested(ends: Tensor, first: int, grow: float, mode: str) -> Tensor:
    """Returns the prefix ends (0-based) that are tested, in order."""
    possible = ends.nonzero()[:, 0]
    possible = possible[possible + 1 >= first]
    if mode == "search":
        return possible
    kept, size = [], float(first)
    for end in possible.tolist():
        if end + 1 >= size:
            kept.append(end)
            while size <= end + 1:
                size = math.ceil(size * grow)
    return torch.tensor(kept, dtype=torch.long)


def _note(tau: Tensor, rows: Tensor, names: list[str], target: float, alpha: float):
    needed = rows_needed(target, alpha / len(names))
    bad = [c for c in range(len(names)) if float(tau[c]) >= NEVER]
    if not bad:
        text = f"precision {target:g} is certified for every class at risk {alpha:g} in all"
        return text + _OOF, bad
    few = [f"{names[c]} ({int(rows[c])} rows)" for c in bad if int(rows[c]) < needed]
    wrong = [names[c] for c in bad if int(rows[c]) >= needed]
    parts = []
    if few:
        parts.append(
            f"no promise is possible for {', '.join(few)}: precision {target:g} at risk {alpha:g} "
            f"in all needs at least {needed} correct out-of-fold rows of a class without one error"
        )
    if wrong:
        parts.append(f"out-of-fold gold does not reach {target:g} for {', '.join(wrong)}")
    sure = len(names) - len(bad)
    head = f"precision {target:g} is certified for {sure} of {len(names)} classes"
    return head + "; " + "; ".join(parts) + "; their rows are not taken" + _OOF, bad


_OOF = " (holds for pool rows like the gold ones; new speakers may be harder)"
