"""Intervals of metrics that resample whole speakers: only tables of counts are drawn again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from pseudo_label.reliability import as_array

# Letters: N rows, C classes, S units (speakers, dialogues or rows), R resamples.
MANY = 2000  # units beyond which alike ones are counted and drawn together: the same law, less work
KEPT = 2_000_000  # numbers of one set of resamples that are kept for the next call, 16 MB
COUNT_METRICS = ("accuracy", "waf", "macro_f1", "uar", "micro_f1")


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


def bootstrap(
    probs: Any, label: Any, group: Any, metric: str = "waf", n: int = 2000, seed: int = 0
) -> Interval:
    """Returns the 95 % interval of a metric under resampling of whole groups.

    `probs` is (N, C), or (N,) decided class numbers with C taken from the labels. Unpacks as
    `low, high, se = bootstrap(...)`. Only tables of counts are resampled, so 2,000 draws take
    milliseconds. With fewer than two groups rows are resampled, and `.note` says so.
    """
    units = _units([probs], label, group)
    if not len(units.times):
        return _nothing(metric)
    whole = np.tensordot(units.times, units.tables[0], 1)
    return _interval(_metric(whole, metric), _metric(_draw(units, n, seed)[0], metric), units)


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
    units = _units([probs, other], label, group)
    if not len(units.times):
        return _nothing(metric)
    first, second = (_metric(np.tensordot(units.times, t, 1), metric) for t in units.tables)
    mine, theirs = (_metric(drawn, metric) for drawn in _draw(units, n, seed))
    difference = mine - theirs
    interval = _interval(first - second, difference, units)
    tail = min(float((difference <= 0).mean()), float((difference >= 0).mean()))
    interval.p_value = min(1.0, 2 * max(tail, 1 / (n + 1)))
    return interval


def metrics_from_confusion(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the count metrics of (..., C, C) confusion tables, each of shape (...)."""
    matrix = matrix.astype(float)
    hit = np.diagonal(matrix, axis1=-2, axis2=-1)  # (..., C)
    truth, named, total = matrix.sum(-1), matrix.sum(-2), matrix.sum((-2, -1))
    f1 = ratio(2 * hit, truth + named)
    accuracy = ratio(hit.sum(-1), total)
    return {
        "accuracy": accuracy,
        "waf": ratio((f1 * truth).sum(-1), total),
        "macro_f1": f1.mean(-1),
        "uar": ratio(hit, truth).mean(-1),
        "micro_f1": accuracy,
    }


@dataclass
class _Units:
    """What is drawn: tables of counts of each unit, and how often each unit occurs."""

    tables: list[np.ndarray]  # per prediction set (U, C, C)
    times: np.ndarray  # (U,) int
    unit: str
    note: str = ""


def _units(predictions: list[Any], label: Any, group: Any) -> _Units:
    label = as_array(label).astype(np.int64)
    arrays = [as_array(p) for p in predictions]
    widths = [a.shape[1] if a.ndim == 2 else int(a.max(initial=0)) + 1 for a in arrays]
    count = max([*widths, int(label.max(initial=0)) + 1])
    decided = [a.argmax(1) if a.ndim == 2 else a.astype(np.int64) for a in arrays]
    cells = [label * count + d for d in decided]
    number, size = np.zeros(len(label), dtype=np.int64), count**2
    if group is not None:
        number = np.unique(as_array(group).astype(str), return_inverse=True)[1].reshape(-1)
    if number.max(initial=0) >= 1:
        units = int(number.max()) + 1
        flat = [np.bincount(number * size + c, minlength=units * size) for c in cells]
        shape = (units, count, count)
        if units > MANY:
            every = np.concatenate([f.reshape(units, -1) for f in flat], 1)
            kinds, times = np.unique(every, axis=0, return_counts=True)
            split = np.split(kinds, len(flat), axis=1)
            return _Units([f.reshape(-1, count, count) for f in split], times, "groups")
        return _Units([f.reshape(shape) for f in flat], np.ones(units, dtype=np.int64), "groups")
    # rows that fall into the same cells are the same unit: draw cells instead of rows
    kinds, times = np.unique(np.stack(cells, 1), axis=0, return_counts=True)
    tables = [np.eye(size, dtype=np.int64)[k].reshape(-1, count, count) for k in kinds.T]
    note = "fewer than two groups: rows were resampled, the interval is too narrow"
    return _Units(tables, times, "rows", note)


def _draw(units: _Units, n: int, seed: int) -> list[np.ndarray]:
    """Returns per prediction set (R, C, C) sums of n resamples, the same draws for all sets."""
    parts: list[list[np.ndarray]] = [[] for _ in units.tables]
    for times in _times(units.times, n, seed):
        for part, table in zip(parts, units.tables, strict=True):
            part.append(times @ table.reshape(len(table), -1).astype(np.float64))
    shapes = [(n, *t.shape[1:]) for t in units.tables]
    return [np.concatenate(p).reshape(s) for p, s in zip(parts, shapes, strict=True)]


def _times(units: np.ndarray, n: int, seed: int) -> Iterable[np.ndarray]:
    """Returns how often each unit is drawn in n resamples (R, U), in parts if they are large."""
    if n * len(units) <= KEPT:
        return [_kept(units.astype(np.int64).tobytes(), n, seed)]
    total, rng = int(units.sum()), np.random.default_rng(seed)
    step = max(1, 4_000_000 // len(units))
    sizes = (min(step, n - begin) for begin in range(0, n, step))
    return (rng.multinomial(total, units / total, size=size) for size in sizes)


@lru_cache(maxsize=2)
def _kept(units: bytes, n: int, seed: int) -> np.ndarray:
    """Returns the same draws to every round of a run, which asks for them again and again."""
    times = np.frombuffer(units, dtype=np.int64)
    total = int(times.sum())
    drawn = np.random.default_rng(seed).multinomial(total, times / total, size=n)
    return drawn.astype(np.float64)


def _metric(tables: np.ndarray, name: str) -> np.ndarray:
    if name not in COUNT_METRICS:
        raise ValueError(f"metric must be one of {', '.join(COUNT_METRICS)}, got '{name}'")
    return metrics_from_confusion(tables)[name]


def _interval(value: np.ndarray, drawn: np.ndarray, units: _Units) -> Interval:
    low, high = np.percentile(drawn, [2.5, 97.5])
    se = float(drawn.std(ddof=1)) if len(drawn) > 1 else float("nan")
    count = int(units.times.sum())
    return Interval(float(value), float(low), float(high), se, units.unit, count, units.note)


def _nothing(metric: str) -> Interval:
    _metric(np.zeros((1, 1)), metric)  # an unknown metric is an error even without rows
    nan = float("nan")
    return Interval(nan, nan, nan, nan, "rows", 0, "no rows")


def ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns a / b, 0 where b is 0."""
    return np.divide(a, b, out=np.zeros(np.broadcast(a, b).shape), where=b > 0)
