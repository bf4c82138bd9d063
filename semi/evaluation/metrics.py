"""Metrics on gold rows: they equal scikit-learn's with labels=range(C), absent classes 0."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from pseudo_label.reliability import as_array, aurc, brier, ece, nll

from ..data.wording import counted
from .intervals import intervals, ratio

# Letters: N rows, C classes.


@dataclass
class Metrics:
    """Scores of one set of predictions against gold labels; plain numbers and lists."""

    rows: int
    accuracy: float
    waf: float  # sum over classes of support share x F1 (scikit-learn's average="weighted")
    macro_f1: float  # all C classes count; an absent one counts 0
    uar: float  # mean recall over all C classes, absent ones 0
    micro_f1: float
    recall_std: float  # spread of the recalls over the classes
    ece: float  # 15 bins of equal mass
    brier: float  # mean squared distance to the one-hot label, in [0, 2]
    nll: float
    aurc: float  # area under the risk-coverage curve
    classes: list[str]
    precision: list[float]  # (C,)
    recall: list[float]  # (C,)
    f1: list[float]  # (C,)
    support: list[int]  # (C,)
    confusion: list[list[int]]  # (C, C), rows = truth

    def to_dict(self) -> dict[str, Any]:
        """Returns a JSON-able dict."""
        return asdict(self)


def score(probs: Any, label: Any, classes: list[str] | int, *, predicted: Any = None) -> Metrics:
    """Returns all metrics of probabilities (N, C) against gold labels (N,).

    Args:
        probs: (N, C) probabilities, array or tensor.
        label: (N,) gold class numbers; rows with -1 are an error, never a guess.
        classes: class names, or how many there are.
        predicted: (N,) decisions where they are not the argmax (logit adjustment).
    """
    probs, label, names = _inputs(probs, label, classes)
    decided = probs.argmax(1) if predicted is None else as_array(predicted).astype(np.int64)
    matrix = confusion(label, decided, len(names))
    right = label == decided
    confidence = probs[np.arange(len(label)), decided]
    hit, support, named = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
    precision, recall = ratio(hit, named), ratio(hit, support)
    f1 = ratio(2 * hit, support + named)  # scikit-learn's, zero_division=0
    known = 1.0 if len(label) else float("nan")  # no rows, no numbers
    accuracy = known * float(right.sum()) / max(len(label), 1)
    return Metrics(
        rows=len(label),
        accuracy=accuracy,
        waf=known * float((f1 * support).sum()) / max(len(label), 1),
        macro_f1=known * float(f1.mean()),
        uar=known * float(recall.mean()),
        micro_f1=accuracy,  # one label a row: micro-F1 is accuracy
        recall_std=known * float(recall.std()),
        ece=known * ece(confidence, right),
        brier=brier(probs, label),
        nll=nll(probs, label),
        aurc=aurc(confidence, right),
        classes=names,
        precision=precision.tolist(),
        recall=recall.tolist(),
        f1=f1.tolist(),
        support=support.tolist(),
        confusion=matrix.tolist(),
    )


def confusion(label: np.ndarray, predicted: np.ndarray, count: int) -> np.ndarray:
    """Returns the (C, C) table of counts, rows = truth."""
    return np.bincount(label * count + predicted, minlength=count**2).reshape(count, count)


@dataclass
class PseudoReport:
    """How good the pseudo-labels were, against gold that was hidden from the run."""

    rows: int  # pool rows
    chosen: int
    checked: int  # chosen rows with hidden gold
    coverage: float
    precision: float  # nan where nothing can be checked
    recall: float  # correct chosen rows / all pool rows with hidden gold
    by_class: dict[str, dict[str, float]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Returns a JSON-able dict."""
        return asdict(self)


def pseudo_report(chosen: Any, label: Any, hidden: Any, classes: list[str]) -> PseudoReport:
    """Returns precision and coverage of pseudo-labels; `hidden` (N,) is gold, -1 unknown."""
    chosen, label, hidden = as_array(chosen).astype(bool), as_array(label), as_array(hidden)
    known, right = hidden >= 0, label == hidden
    checked = chosen & known
    by_class = {}
    for c, name in enumerate(classes):
        of_class, truth = checked & (label == c), known & (hidden == c)
        by_class[name] = {
            "chosen": int((chosen & (label == c)).sum()),
            "precision": _share(right & of_class, of_class),
            "recall": _share(checked & right & truth, truth),
        }
    return PseudoReport(
        rows=len(chosen),
        chosen=int(chosen.sum()),
        checked=int(checked.sum()),
        coverage=float(chosen.mean()) if len(chosen) else 0.0,
        precision=_share(right & checked, checked),
        recall=_share(right & checked, known),
        by_class=by_class,
    )


def mcnemar(predicted: Any, other: Any, label: Any) -> dict[str, float]:
    """Returns McNemar's exact test of equal accuracy: the two discordant counts and the p-value."""
    from scipy.stats import binomtest

    label = as_array(label)
    right, other_right = as_array(predicted) == label, as_array(other) == label
    only, lost = int((right & ~other_right).sum()), int((~right & other_right).sum())
    p = 1.0 if only + lost == 0 else float(binomtest(only, only + lost, 0.5).pvalue)
    return {"only_first": only, "only_second": lost, "p_value": p}


def affect_scores(predicted: Any, truth: Any) -> dict[str, float]:
    """Returns CCC, Pearson's r and RMSE of a regression; rows with NaN truth are left out.

    CCC = 2 cov / (var_p + var_t + (mean_p - mean_t)^2) (Lin 1989), population moments.
    """
    predicted, truth = as_array(predicted).astype(float), as_array(truth).astype(float)
    known = ~np.isnan(truth)
    p, t = predicted[known], truth[known]
    if len(t) < 2:
        return {"ccc": float("nan"), "pearson": float("nan"), "rmse": float("nan"), "rows": len(t)}
    covariance = float(((p - p.mean()) * (t - t.mean())).mean())
    spread = float(p.std() * t.std())
    gap = float(p.var() + t.var() + (p.mean() - t.mean()) ** 2)
    return {
        "ccc": 2 * covariance / gap if gap > 0 else 0.0,
        "pearson": covariance / spread if spread > 0 else 0.0,
        "rmse": float(np.sqrt(((p - t) ** 2).mean())),
        "rows": len(t),
    }


def _inputs(probs: Any, label: Any, classes: list[str] | int):
    probs, label = as_array(probs).astype(np.float64), as_array(label).astype(np.int64)
    names = [str(c) for c in range(classes)] if isinstance(classes, int) else list(classes)
    if probs.ndim != 2 or probs.shape[1] != len(names):
        raise ValueError(f"probs must have shape (N, {len(names)}), got {probs.shape}")
    if len(label) != len(probs):
        raise ValueError(
            f"{counted(len(probs), 'row')} of probs for {counted(len(label), 'label')}"
        )
    if len(label) and (label.min() < 0 or label.max() >= len(names)):
        raise ValueError(
            f"label must be in 0..{len(names) - 1}, got {label.min()}..{label.max()}; metrics are "
            "computed on gold rows only"
        )
    return probs, label, names


def _share(part: np.ndarray, whole: np.ndarray) -> float:
    return float(part.sum() / whole.sum()) if whole.any() else float("nan")


MAIN_METRICS = ("accuracy", "waf", "macro_f1", "uar")  # those that get an interval


def measured(probs: Any, label: Any, group: Any, classes: list[str]) -> dict[str, Any]:
    """Returns all metrics of gold rows and the interval over groups of the main ones.

    Args:
        probs: (N, C) probabilities.
        label: (N,) true classes.
        group: (N,) speaker or other group of each row.
        classes: C names in order.
    """
    found = score(probs, label, classes).to_dict()
    every = intervals([probs], label, group)
    found["intervals"] = {name: every[name].to_dict() for name in MAIN_METRICS}
    return found


def name_groups(metrics: dict[str, Any], kind: str) -> dict[str, Any]:
    """Writes into every interval of a set of metrics what its groups are, and returns the set."""
    for part in (metrics, *(metrics.get("affect") or {}).values()):
        for found in (part.get("intervals") or {}).values():
            found["kind"] = kind
    return metrics
