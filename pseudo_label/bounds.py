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


def holds_in_pool(
    right: Tensor, rows: Tensor, taken: Tensor, target: float, alpha: float
) -> Tensor:
    """Returns whether `taken` further rows of the same kind keep the target, each at risk alpha.

    Of few rows a share of errors is a matter of chance: a class that is right 95 times in 100 has
    two errors among five rows often enough. The exact test: had so many of all rows together been
    wrong that the taken ones fall below the target, gold would hardly have shown so few of them
    (hypergeometric; with ever more rows it becomes the test behind Clopper and Pearson's bound).

    Args:
        right: (K,) right gold rows.
        rows: (K,) gold rows.
        taken: (K,) pool rows; none of them need no promise.
        target: least share of right ones.
        alpha: risk.
    """
    import numpy as np
    from scipy.stats import hypergeom

    n, m = rows.double().cpu().numpy(), taken.double().cpu().numpy()
    wrong = np.ceil((n - right.double().cpu().numpy()).round(6))
    n, m = np.maximum(np.floor(n.round(6)), wrong), np.floor(m.round(6))  # parts of a row: none
    breaking = (1 - target) * m
    breaking = breaking.round(9) // 1 + 1  # fewest errors below the target
    chance = hypergeom.cdf(wrong, n + m, (wrong + breaking).clip(max=n + m), n)
    return torch.as_tensor((chance <= alpha) | (m == 0))


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
    taken: tuple[Tensor, Tensor] | None = None,
    group: tuple[Tensor, Tensor] | None = None,
) -> Bound:
    """Returns per class the largest confidence prefix of gold whose lower bound reaches `target`.

    `alpha` is the risk that the certificate of any class is wrong. Classes of too few gold rows for
    any certificate have no part of it; the k others get alpha / k each, and what certified classes
    no longer need goes to the rest (Holm 1979, https://www.jstor.org/stable/4615733).
    search tests every prefix of at least `first` rows (violations stay near alpha in simulation);
    fixed_sequence tests prefixes first, first * grow, ... and stops at the first failure, which
    keeps the risk at alpha strictly. A prefix ends only where the confidence changes: a threshold
    cannot take half of a tie. With `taken`, the confidences and labels (P,) of pool rows that stand
    to be taken, these very rows must keep the target, too, however few they are. With `group`, the
    speakers (G,) of gold and (P,) of these rows, rows of speakers without gold count for less: see
    `design_effects`.
    """
    count = probs.shape[1]
    names = classes or [str(c) for c in range(count)]
    confidence, predicted = probs.max(1)
    rows = torch.bincount(predicted, minlength=count).cpu()
    thin = torch.ones(count, 2, dtype=torch.float64)
    if taken is not None and group is not None:
        thin = design_effects(predicted == label, predicted, taken[1], *group, count)
    prefixes = {}
    for c in _possible(rows, target, alpha, first):
        of_class = predicted == c
        at_risk = None if taken is None else taken[0][taken[1] == c]
        prefixes[c] = _prefixes(
            confidence[of_class], label[of_class] == c, at_risk, thin[c], first, grow, mode
        )
    tau = torch.full((count,), NEVER, dtype=probs.dtype, device=probs.device)
    low = torch.zeros(count, dtype=torch.float64)
    for c, (value, bound) in _certified(prefixes, target, alpha, mode).items():
        tau[c], low[c] = value, bound
    note, bad = _note(tau, rows, names, target, alpha, len(prefixes))
    if taken is not None and bad:
        note += "; a class of few pool rows needs more gold: one error weighs more"
    if (thin > 1).any():
        note += f"; rows of speakers without gold count as 1 / {float(thin.max()):.1f} rows"
    return Bound(tau, low, rows, note, bad)


_Prefixes = tuple[Tensor, Tensor, Tensor, Tensor | None]  # as `_prefixes` returns them


def _certified(
    prefixes: dict[int, _Prefixes], target: float, alpha: float, mode: str
) -> dict[int, tuple[Tensor, Tensor]]:
    """Returns the threshold and the lower bound of every class that can be certified.

    The risk is shared by the classes still open; what certified ones no longer need goes to them.
    """
    found: dict[int, tuple[Tensor, Tensor]] = {}
    again = True
    while again and len(found) < len(prefixes):
        share, again = alpha / (len(prefixes) - len(found)), False
        for c in [c for c in prefixes if c not in found]:
            value, right, size, left = prefixes[c]
            bound = lower_bound(right, size, share)
            good = bound >= target
            if left is not None:
                good &= holds_in_pool(right, size, left, target, share)
            if mode == "fixed_sequence":
                good = good.long().cumprod(0).bool()
            if good.any():
                best = int(good.nonzero().max())
                found[c] = (value[best], bound[best])
                again = True
    return found


def _prefixes(
    confidence: Tensor, right: Tensor, taken: Tensor | None, thin: Tensor, first: int, grow: float,
    mode: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:  # fmt: skip
    """Returns the K prefixes that are tested of one class, as independent rows.

    Their thresholds, their right gold rows, their gold rows, and the pool rows above each threshold
    (None without `taken`); each (K,).

    Args:
        confidence: (n,) of the gold rows predicted as the class.
        right: (n,) bool.
        taken: (p,) confidences of pool rows that stand to be taken as the class.
        thin: (2,) rows of gold and of the pool that stand for one independent row.
        first: rows of the shortest prefix.
        grow: factor from one prefix to the next, for fixed_sequence.
        mode: search | fixed_sequence.
    """
    value, order = confidence.sort(descending=True, stable=True)
    count = right[order].cumsum(0)
    ends = torch.ones(len(value), dtype=torch.bool)
    ends[:-1] = (value[1:] != value[:-1]).cpu()
    at = _tested(ends, first, grow, mode)
    left = None
    if taken is not None:
        above = taken.sort().values
        left = (len(above) - torch.searchsorted(above, value[at].to(above))).cpu()
        left = left.double() / _part(thin[1], left, len(above))
        left = torch.where(left > 0, left.clamp(min=1), left)
    fewer = _part(thin[0], at + 1, len(value))
    return value[at], count.cpu()[at] / fewer, (at + 1) / fewer, left


def design_effects(
    right: Tensor, predicted: Tensor, label: Tensor, gold: Tensor, pool: Tensor, classes: int
) -> Tensor:
    """Returns (C, 2): how many rows of gold and of the pool stand for one independent row.

    1 + (mean rows of a speaker - 1) r, with r the correlation of being right among the rows of one
    speaker and predicted class (Kish 1965), times the share of pool rows whose speaker has no gold:
    a speaker's own difficulty is the same in gold and pool, and a new one's is not known.

    Args:
        right: (G,) bool.
        predicted: (G,) class of each gold row.
        label: (P,) class of each pool row.
        gold: (G,) speaker of each gold row.
        pool: (P,) speaker of each pool row, same numbering.
        classes: C.
    """
    effects = torch.ones(classes, 2, dtype=torch.float64)
    new = ~torch.isin(pool, gold)
    if not len(right) or not bool(new.any()):
        return effects
    rest = right.double().cpu()
    predicted, label, gold, pool = (t.cpu() for t in (predicted, label, gold, pool))
    total = torch.zeros(classes, dtype=torch.float64).index_add(0, predicted, rest)
    rest = rest - (total / torch.bincount(predicted, minlength=classes).clamp(min=1))[predicted]
    cell = torch.unique(gold * classes + predicted, return_inverse=True)[1]
    number = torch.bincount(cell)
    empty = torch.zeros(len(number), dtype=torch.float64)
    pairs = (empty.index_add(0, cell, rest) ** 2 - empty.index_add(0, cell, rest**2)).sum()
    count = (number * (number - 1)).sum().clamp(min=1)
    r = (pairs / count / rest.square().mean().clamp(min=1e-12)).clamp(0, 1)
    r = r * float(new.double().mean())
    for side, (kind, who) in enumerate(((predicted, gold), (label, pool))):
        for c in range(classes):
            counts = torch.unique(who[kind == c], return_counts=True)[1].double()
            if len(counts):
                effects[c, side] = 1 + (counts.square().sum() / counts.sum() - 1) * r
    return effects


def _part(effect: Tensor, rows: Tensor, of: int) -> Tensor:
    """Returns the design effect of a prefix: speakers have fewer rows each in a part of all."""
    return 1 + (effect - 1) * rows.double() / max(of, 1)


def _possible(rows: Tensor, target: float, alpha: float, first: int) -> list[int]:
    """Returns the classes that a spotless record could certify, sharing the risk among them."""
    order = rows.argsort(descending=True, stable=True).tolist()
    for k in range(len(order), 0, -1):
        if int(rows[order[k - 1]]) >= max(first, rows_needed(target, alpha / k)):
            return sorted(order[:k])
    return []


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


def _note(
    tau: Tensor, rows: Tensor, names: list[str], target: float, alpha: float, possible: int
) -> tuple[str, list[int]]:
    needed = rows_needed(target, alpha / min(possible + 1, len(names)))
    bad = [c for c in range(len(names)) if float(tau[c]) >= NEVER]
    if not bad:
        text = f"precision {target:g} is certified for every class at risk {alpha:g} in all"
        return text + _OOF, bad
    few = [
        f"{names[c][:40]} ({int(rows[c])} row{'s' * (int(rows[c]) != 1)})"
        for c in bad
        if int(rows[c]) < needed
    ]
    wrong = [names[c][:40] for c in bad if int(rows[c]) >= needed]
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
