"""Metrics on gold rows, with intervals that resample whole speakers."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

# Letters: N rows, C classes, S groups (speakers or dialogues), R resamples.
COUNT_METRICS = ("accuracy", "waf", "macro_f1", "uar", "micro_f1")


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


@dataclass
class Interval:
    """A bootstrap interval."""

    value: float  # the metric on all rows
    low: float  # 2.5 %
    high: float  # 97.5 %
    se: float
    unit: str = "groups"  # what was resampled: groups | rows
    units: int = 0  # how many of them
    note: str = ""
    p_value: float | None = None  # of a difference: two-sided, share of resamples across zero

    def __iter__(self):
        """Unpacks as (low, high, se)."""
        return iter((self.low, self.high, self.se))

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
    decided = probs.argmax(1) if predicted is None else _array(predicted).astype(np.int64)
    matrix = confusion(label, decided, len(names))
    nan = float("nan")
    if not len(label):
        rest = [0.0] * len(names)
        return Metrics(0, *[nan] * 10, names, rest, rest, rest, [0] * len(names), matrix.tolist())
    from sklearn.metrics import precision_recall_fscore_support

    precision, recall, f1, support = precision_recall_fscore_support(
        label, decided, labels=range(len(names)), zero_division=0
    )
    accuracy = float((label == decided).mean())
    right = probs[np.arange(len(label)), label]
    one_hot = np.eye(len(names))[label]
    confidence = probs[np.arange(len(label)), decided]
    return Metrics(
        rows=len(label),
        accuracy=accuracy,
        waf=float((f1 * support).sum() / support.sum()),
        macro_f1=float(f1.mean()),
        uar=float(recall.mean()),
        micro_f1=accuracy,  # one label a row: micro-F1 is accuracy
        recall_std=float(recall.std()),
        ece=ece(confidence, label == decided),
        brier=float(((probs - one_hot) ** 2).sum(1).mean()),
        nll=float(-np.log(np.clip(right, 1e-12, None)).mean()),
        aurc=aurc(confidence, label == decided),
        classes=names,
        precision=precision.tolist(),
        recall=recall.tolist(),
        f1=f1.tolist(),
        support=support.astype(int).tolist(),
        confusion=matrix.tolist(),
    )


def confusion(label: np.ndarray, predicted: np.ndarray, count: int) -> np.ndarray:
    """Returns the (C, C) table of counts, rows = truth."""
    return np.bincount(label * count + predicted, minlength=count**2).reshape(count, count)


def ece(confidence: Any, right: Any, bins: int = 15) -> float:
    """Returns the expected calibration error over bins of equal mass."""
    confidence, right = _array(confidence).astype(float), _array(right).astype(float)
    order = np.argsort(confidence, kind="stable")
    total = 0.0
    for part in np.array_split(order, min(bins, max(len(order), 1))):
        if len(part):
            total += abs(confidence[part].mean() - right[part].mean()) * len(part)
    return float(total / max(len(order), 1))


def risk_coverage(confidence: Any, right: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns coverage (N,) and the error rate among that most confident share (N,).

    Equal confidences share one risk (their mean), so the row order cannot matter.
    """
    confidence, wrong = _array(confidence).astype(float), 1.0 - _array(right).astype(float)
    order = np.argsort(-confidence, kind="stable")
    _, start, size = np.unique(-confidence[order], return_index=True, return_counts=True)
    if not len(order):
        return np.zeros(0), np.zeros(0)
    mean = np.repeat(np.add.reduceat(wrong[order], start) / size, size)
    taken = np.arange(1, len(order) + 1)
    return taken / len(order), np.cumsum(mean) / taken


def aurc(confidence: Any, right: Any) -> float:
    """Returns the area under the risk-coverage curve: mean selective error over coverages."""
    risk = risk_coverage(confidence, right)[1]
    return float(risk.mean()) if len(risk) else float("nan")


def selective_accuracy(
    confidence: Any, right: Any, coverages: tuple[float, ...] = (0.1, 0.2, 0.3, 0.5, 0.8, 1.0)
) -> dict[float, float]:
    """Returns the accuracy among the most confident share of rows, per asked coverage."""
    risk = risk_coverage(confidence, right)[1]
    taken = [max(math.ceil(c * len(risk)), 1) for c in coverages]
    return {
        c: float(1 - risk[k - 1]) if len(risk) else float("nan")
        for c, k in zip(coverages, taken, strict=True)
    }


def metrics_from_confusion(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the count metrics of (..., C, C) confusion tables, each of shape (...)."""
    matrix = matrix.astype(float)
    hit = np.diagonal(matrix, axis1=-2, axis2=-1)  # (..., C)
    truth, named, total = matrix.sum(-1), matrix.sum(-2), matrix.sum((-2, -1))
    f1 = _ratio(2 * hit, truth + named)
    accuracy = _ratio(hit.sum(-1), total)
    return {
        "accuracy": accuracy,
        "waf": _ratio((f1 * truth).sum(-1), total),
        "macro_f1": f1.mean(-1),
        "uar": _ratio(hit, truth).mean(-1),
        "micro_f1": accuracy,
    }


def bootstrap(
    probs: Any, label: Any, group: Any, metric: str = "waf", n: int = 2000, seed: int = 0
) -> Interval:
    """Returns the 95 % interval of a metric under resampling of whole groups.

    `probs` is (N, C), or (N,) decided class numbers with C taken from the labels. Unpacks as
    `low, high, se = bootstrap(...)`. Only tables of counts are resampled, so 2,000 draws take
    milliseconds. With fewer than two groups rows are resampled, and `.note` says so.
    """
    tables, unit, note = _tables([probs], label, group)
    drawn = _draw(tables[0], n, seed)
    value = float(_metric(tables[0].sum(0)[None], metric)[0])
    return _interval(value, _metric(drawn, metric), unit, len(tables[0]), note)


def paired_bootstrap(
    probs: Any,
    other: Any,
    label: Any,
    group: Any,
    metric: str = "waf",
    n: int = 2000,
    seed: int = 0,
) -> Interval:
    """Returns the 95 % interval of metric(probs) - metric(other), same resamples for both."""
    tables, unit, note = _tables([probs, other], label, group)
    values = [_metric(t.sum(0)[None], metric)[0] for t in tables]
    drawn = [_metric(_draw(t, n, seed), metric) for t in tables]
    difference = drawn[0] - drawn[1]
    interval = _interval(float(values[0] - values[1]), difference, unit, len(tables[0]), note)
    tail = min(float((difference <= 0).mean()), float((difference >= 0).mean()))
    interval.p_value = min(1.0, 2 * max(tail, 1 / (n + 1)))
    return interval


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
    """Returns precision and coverage of pseudo-labels; `hidden` (N,) is gold or -1 where unknown."""
    chosen, label, hidden = _array(chosen).astype(bool), _array(label), _array(hidden)
    known, right = hidden >= 0, label == hidden
    checked = chosen & known
    by_class = {}
    for c, name in enumerate(classes):
        mine, truth = checked & (label == c), known & (hidden == c)
        by_class[name] = {
            "chosen": int((chosen & (label == c)).sum()),
            "precision": _share(right & mine, mine),
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

    label = _array(label)
    mine, theirs = _array(predicted) == label, _array(other) == label
    only, lost = int((mine & ~theirs).sum()), int((~mine & theirs).sum())
    p = 1.0 if only + lost == 0 else float(binomtest(only, only + lost, 0.5).pvalue)
    return {"only_first": only, "only_second": lost, "p_value": p}


def affect_scores(predicted: Any, truth: Any) -> dict[str, float]:
    """Returns CCC, Pearson's r and RMSE of a regression; rows with NaN truth are left out.

    CCC = 2 cov / (var_p + var_t + (mean_p - mean_t)^2) (Lin 1989), population moments.
    """
    predicted, truth = _array(predicted).astype(float), _array(truth).astype(float)
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


def _array(x: Any) -> np.ndarray:
    return np.asarray(x.detach().cpu() if hasattr(x, "detach") else x)


def _inputs(probs: Any, label: Any, classes: list[str] | int):
    probs, label = _array(probs).astype(np.float64), _array(label).astype(np.int64)
    names = [str(c) for c in range(classes)] if isinstance(classes, int) else list(classes)
    if probs.ndim != 2 or probs.shape[1] != len(names):
        raise ValueError(f"probs must have shape (N, {len(names)}), got {probs.shape}")
    if len(label) != len(probs):
        raise ValueError(f"{len(probs)} rows of probs for {len(label)} labels")
    if len(label) and (label.min() < 0 or label.max() >= len(names)):
        raise ValueError(
            f"label must be in 0..{len(names) - 1}, got {label.min()}..{label.max()}; metrics are "
            "computed on gold rows only"
        )
    return probs, label, names


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.divide(a, b, out=np.zeros(np.broadcast(a, b).shape), where=b > 0)


def _share(part: np.ndarray, whole: np.ndarray) -> float:
    return float(part.sum() / whole.sum()) if whole.any() else float("nan")


def _tables(predictions: list[Any], label: Any, group: Any):
    """Returns per prediction set (S, C, C) tables, what a unit is, and a note."""
    label = _array(label).astype(np.int64)
    arrays = [_array(p) for p in predictions]
    widths = [a.shape[1] if a.ndim == 2 else int(a.max(initial=0)) + 1 for a in arrays]
    count = max([*widths, int(label.max(initial=0)) + 1])
    decided = [a.argmax(1) if a.ndim == 2 else a.astype(np.int64) for a in arrays]
    unit, note = "groups", ""
    number = np.arange(len(label))
    if group is not None:
        number = np.unique(_array(group).astype(str), return_inverse=True)[1].reshape(-1)
    if group is None or number.max(initial=0) < 1:
        unit = "rows"
        note = "fewer than two groups: rows were resampled, the interval is too narrow"
        number = np.arange(len(label))
    units = int(number.max(initial=-1)) + 1
    size = count**2
    tables = [
        np.bincount(number * size + label * count + d, minlength=units * size).reshape(
            units, count, count
        )
        for d in decided
    ]
    return tables, unit, note


def _draw(tables: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Returns (R, C, C) sums of resampled units; the same seed draws the same units."""
    units, count = len(tables), tables.shape[1]
    rng = np.random.default_rng(seed)
    flat = tables.reshape(units, -1).astype(np.float64)
    parts, step = [], max(1, 4_000_000 // max(units, 1))
    for begin in range(0, n, step):
        size = min(step, n - begin)
        times = rng.multinomial(units, np.full(units, 1 / units), size=size)
        parts.append(times @ flat)
    return np.concatenate(parts).reshape(n, count, count)


def _metric(tables: np.ndarray, name: str) -> np.ndarray:
    if name not in COUNT_METRICS:
        raise ValueError(f"metric must be one of {', '.join(COUNT_METRICS)}, got '{name}'")
    return metrics_from_confusion(tables)[name]


def _interval(value: float, drawn: np.ndarray, unit: str, units: int, note: str) -> Interval:
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(value, float(low), float(high), float(drawn.std(ddof=1)), unit, units, note)
