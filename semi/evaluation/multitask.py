"""Metrics of several labels a row, and of valence and arousal, with intervals by group.

Letters: N rows, C classes, S units (groups or rows), R resamples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pseudo_label.reliability import as_array

from .bootstrap import Interval, ratio
from .metrics import affect_scores

AFFECT = ("valence", "arousal")
YES = 0.5  # a label is given from this probability on


def multi_measured(probs: Any, truth: Any, group: Any, classes: list[str], seed: int) -> dict:
    """Returns F1 over classes, over all answers and over rows, from (N, C) against 0 and 1.

    A row without any label, given or said, counts as right (F1 1); a class without any counts 0.
    """
    probs, truth = as_array(probs).astype(float), as_array(truth).astype(float) > 0.5
    predicted = probs >= YES
    counts, per_row = _counts(predicted, truth)
    hits, positives, support = counts.sum(0)
    values = _multi_values(counts.sum(0)[None], per_row.sum()[None], np.array([len(truth)]))
    metrics = {
        "rows": len(truth),
        **{k: float(v[0]) for k, v in values.items()},
        "exact": float((predicted == truth).all(1).mean()) if len(truth) else float("nan"),
        "classes": list(classes),
        "precision": ratio(hits, positives).tolist(),
        "recall": ratio(hits, support).tolist(),
        "f1": ratio(2 * hits, positives + support).tolist(),
        "support": support.astype(int).tolist(),
    }
    metrics["intervals"] = _intervals(multi_sums(probs, truth), group, seed)
    return metrics


def affect_measured(predicted: Any, truth: Any, group: Any, seed: int) -> dict:
    """Returns CCC, Pearson's r and RMSE of (N, 2) valence and arousal; a NaN truth is unknown."""
    predicted, truth = as_array(predicted).astype(float), as_array(truth).astype(float)
    metrics: dict[str, Any] = {}
    for i, name in enumerate(AFFECT):
        known = ~np.isnan(truth[:, i])
        metrics[name] = affect_scores(predicted[:, i], truth[:, i])
        metrics[name]["intervals"] = ccc_intervals(
            predicted[known, i], truth[known, i], as_array(group)[known], seed
        )
    known_ccc = [metrics[name]["ccc"] for name in AFFECT if metrics[name]["rows"] >= 2]
    metrics["ccc"] = float(np.mean(known_ccc)) if known_ccc else float("nan")
    return metrics


def ccc_intervals(predicted: np.ndarray, truth: np.ndarray, group: Any, seed: int) -> dict:
    """Returns the bootstrap interval of CCC under resampling of whole groups."""
    if len(truth) < 2:
        return {}
    sums = affect_sums(predicted[:, None], truth[:, None])
    return {"ccc": _intervals(sums, group, seed)["ccc"]}


def mean_ccc(predicted: Any, truth: Any, group: Any, seed: int) -> tuple[float, float]:
    """Returns the mean CCC of valence and arousal, and its standard error over groups."""
    metrics = affect_measured(predicted, truth, group, seed)
    errors = [metrics[a]["intervals"]["ccc"]["se"] for a in AFFECT if metrics[a]["intervals"]]
    return metrics["ccc"], float(np.mean(errors)) if errors else float("nan")


def _counts(predicted: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns (N, 3, C) of hit, said, true, and the F1 of every row (N,)."""
    counts = np.stack([predicted & truth, predicted, truth], 1).astype(float)
    hits, positives, support = counts.sum(2).T
    return counts, np.where(positives + support > 0, ratio(2 * hits, positives + support), 1.0)


def _multi_values(
    counts: np.ndarray, row_f1: np.ndarray, rows: np.ndarray
) -> dict[str, np.ndarray]:
    hits, positives, support = counts[:, 0], counts[:, 1], counts[:, 2]  # (R, C)
    pooled = ratio(2 * hits.sum(1), positives.sum(1) + support.sum(1))
    return {
        "macro_f1": ratio(2 * hits, positives + support).mean(1),
        "micro_f1": pooled,
        "sample_f1": ratio(row_f1, rows.astype(float)),
    }


Read = Callable[[np.ndarray, np.ndarray], dict[str, np.ndarray]]


@dataclass
class Sums:
    """Numbers of each row whose sums over any rows are enough to know the metrics there."""

    table: np.ndarray  # (N, K)
    read: Read  # sums (R, K) and row counts (R,) -> metric (R,) by name


def multi_sums(probs: Any, truth: Any) -> Sums:
    """Returns what the metrics of several labels a row are made of, from (N, C) and 0 or 1."""
    predicted, truth = as_array(probs).astype(float) >= YES, as_array(truth).astype(float) > 0.5
    counts, per_row = _counts(predicted, truth)
    classes = truth.shape[1]

    def read(sums: np.ndarray, rows: np.ndarray) -> dict[str, np.ndarray]:
        return _multi_values(sums[:, :-1].reshape(-1, 3, classes), sums[:, -1], rows)

    return Sums(np.concatenate([counts.reshape(len(truth), -1), per_row[:, None]], 1), read)


def affect_sums(predicted: Any, truth: Any) -> Sums:
    """Returns what CCC is made of, from (N, D) values and truths, NaN = unknown.

    `ccc` is the mean over dimensions, `<name>_ccc` that of valence and arousal.
    """
    predicted, truth = as_array(predicted).astype(float), as_array(truth).astype(float)
    known = ~np.isnan(truth)
    middle = np.where(known.any(0), np.nansum(truth, 0) / known.sum(0).clip(min=1), 0.0)
    # both shifted alike, which changes no CCC and keeps the sums exact
    p, t = (np.where(known, x - middle, 0.0) for x in (predicted, truth))
    parts = np.stack([known.astype(float), p, t, p * p, t * t, p * t], 2)  # (N, D, 6)
    dims = truth.shape[1]

    def read(sums: np.ndarray, rows: np.ndarray) -> dict[str, np.ndarray]:
        count, *means = np.moveaxis(sums.reshape(-1, dims, 6), 2, 0)
        p, t, pp, tt, pt = (ratio(m, count) for m in means)  # (R, D)
        value = ratio(2 * (pt - p * t), pp - p * p + tt - t * t + (p - t) ** 2)
        used = known.sum(0) >= 2
        metrics = {"ccc": value[:, used].mean(1) if used.any() else np.zeros(len(value))}
        if dims == len(AFFECT):
            metrics |= {f"{name}_ccc": value[:, i] for i, name in enumerate(AFFECT)}
        return metrics

    return Sums(parts.reshape(len(truth), -1), read)


def _intervals(sums: Sums, group: Any, seed: int) -> dict:
    """Returns the interval of each metric that `sums` make up."""
    if not len(sums.table):
        return {}
    return {k: v.to_dict() for k, v in paired_intervals(sums, None, group, seed).items()}


def paired_intervals(
    one: Sums, other: Sums | None, group: Any, seed: int, n: int = 2000
) -> dict[str, Interval]:
    """Returns the 95 % interval of each metric, or of its difference to `other` on the same rows.

    Whole groups are resampled, the same for both.
    """
    units = np.unique(as_array(group).astype(str), return_inverse=True)[1].reshape(-1)
    unit, note = "groups", ""
    if units.max(initial=0) < 1:
        units, unit = np.arange(len(one.table)), "rows"
        note = "fewer than two groups: rows were resampled, the interval is too narrow"
    count = int(units.max()) + 1
    rng = np.random.default_rng(seed)
    times = rng.multinomial(count, np.full(count, 1 / count), size=n)
    whole, drawn = _read_units(one, units, count, times)
    if other is not None:
        less, fewer = _read_units(other, units, count, times)
        whole = {k: v - less[k] for k, v in whole.items()}
        drawn = {k: v - fewer[k] for k, v in drawn.items()}
    intervals = {}
    for name, values in drawn.items():
        low, high = np.percentile(values, [2.5, 97.5])
        se = float(values.std(ddof=1))
        interval = Interval(float(whole[name][0]), float(low), float(high), se, unit, count, note)
        if other is not None:
            tail = min(float((values <= 0).mean()), float((values >= 0).mean()))
            interval.p_value = min(1.0, 2 * max(tail, 1 / (n + 1)))
        intervals[name] = interval
    return intervals


def _read_units(sums: Sums, units: np.ndarray, count: int, times: np.ndarray) -> tuple[dict, dict]:
    """Returns the metrics of all rows, and those of every resample of units (R, S)."""
    table = np.concatenate([sums.table, np.ones((len(sums.table), 1))], 1)
    of_unit = np.zeros((count, table.shape[1]))
    np.add.at(of_unit, units, table)
    drawn, all_of_it = times @ of_unit, of_unit.sum(0)[None]
    return (
        sums.read(all_of_it[:, :-1], all_of_it[:, -1]),
        sums.read(drawn[:, :-1], drawn[:, -1]),
    )
