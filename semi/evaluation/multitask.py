"""Metrics of several labels a row, and of valence and arousal, with intervals by group.

Letters: N rows, C classes, K numbers a row, R sets of rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pseudo_label.reliability import as_array

from .intervals import (
    Interval,
    Read,
    Units,
    mean_of_present,
    no_difference,
    numbered,
    one_model,
    over_units,
    ratio,
)
from .metrics import affect_scores

AFFECT = ("valence", "arousal")
YES = 0.5  # a label is given from this probability on


def multi_measured(probs: Any, truth: Any, group: Any, classes: list[str]) -> dict:
    """Returns F1 over classes, over all answers and over rows, from (N, C) against 0 and 1.

    A row without any label, given or said, counts as right (F1 1); a class without any counts 0.
    """
    probs, truth = as_array(probs).astype(float), as_array(truth).astype(float) > 0.5
    predicted = probs >= YES
    counts, per_row = _counts(predicted, truth)
    hits, positives, support = counts.sum(0)
    rows = np.array([len(truth)])
    values = _multi_values(counts.sum(0)[None], per_row.sum()[None], rows, None)
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
    found = of_sums(multi_sums(probs, truth), None, group)
    metrics["intervals"] = {k: v.to_dict() for k, v in found.items()}
    return metrics


def affect_measured(predicted: Any, truth: Any, group: Any) -> dict:
    """Returns CCC, Pearson's r and RMSE of (N, 2) valence and arousal; a NaN truth is unknown."""
    predicted, truth = as_array(predicted).astype(float), as_array(truth).astype(float)
    metrics: dict[str, Any] = {}
    for i, name in enumerate(AFFECT):
        known = ~np.isnan(truth[:, i])
        metrics[name] = affect_scores(predicted[:, i], truth[:, i])
        metrics[name]["intervals"] = ccc_intervals(
            predicted[known, i], truth[known, i], as_array(group)[known]
        )
    known_ccc = [metrics[name]["ccc"] for name in AFFECT if metrics[name]["rows"] >= 2]
    metrics["ccc"] = float(np.mean(known_ccc)) if known_ccc else float("nan")
    found = of_sums(affect_sums(predicted, truth), None, group) if known_ccc else {}
    metrics["intervals"] = {"ccc": found["ccc"].to_dict()} if known_ccc else {}
    return metrics


def ccc_intervals(predicted: np.ndarray, truth: np.ndarray, group: Any) -> dict:
    """Returns the interval of CCC over whole groups, from (N,) values."""
    if len(truth) < 2:
        return {}
    sums = affect_sums(predicted[:, None], truth[:, None])
    return {"ccc": of_sums(sums, None, group)["ccc"].to_dict()}


def mean_ccc(predicted: Any, truth: Any, group: Any) -> tuple[float, float]:
    """Returns the mean CCC of valence and arousal, and its standard error over groups."""
    metrics = affect_measured(predicted, truth, group)
    found = metrics["intervals"].get("ccc")
    return metrics["ccc"], found["se"] if found else float("nan")


def _counts(predicted: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns (N, 3, C) of hit, predicted, true, and the F1 of every row (N,)."""
    counts = np.stack([predicted & truth, predicted, truth], 1).astype(float)
    hits, positives, support = counts.sum(2).T
    return counts, np.where(positives + support > 0, ratio(2 * hits, positives + support), 1.0)


def _multi_values(
    counts: np.ndarray, row_f1: np.ndarray, rows: np.ndarray, known: np.ndarray | None
) -> dict[str, np.ndarray]:
    hits, positives, support = counts[:, 0], counts[:, 1], counts[:, 2]  # (R, C)
    pooled = ratio(2 * hits.sum(1), positives.sum(1) + support.sum(1))
    return {
        "macro_f1": mean_of_present(ratio(2 * hits, positives + support), support, known),
        "micro_f1": pooled,
        "sample_f1": ratio(row_f1, rows.astype(float)),
    }


@dataclass
class Sums:
    """Numbers of each row whose sums over any rows are enough to know the metrics there."""

    table: np.ndarray  # (N, K)
    read: Read  # sums (R, K) -> metric (R,) by name
    ranges: dict[str, tuple[float, float]]  # least and largest value of each metric
    by_class: dict[str, np.ndarray] = field(default_factory=dict)  # (N, C) of means over classes
    probs: np.ndarray | None = None  # (N, C) where the metrics come from probabilities


def multi_sums(probs: Any, truth: Any) -> Sums:
    """Returns what the metrics of several labels a row are made of, from (N, C) and 0 or 1."""
    probs, truth = as_array(probs).astype(float), as_array(truth).astype(float) > 0.5
    counts, per_row = _counts(probs >= YES, truth)
    classes, known = truth.shape[1], truth.any(0)

    def read(sums: np.ndarray) -> dict[str, np.ndarray]:
        of_classes = sums[:, :-2].reshape(-1, 3, classes)
        return _multi_values(of_classes, sums[:, -2], sums[:, -1], known)

    table = np.column_stack([counts.reshape(len(truth), -1), per_row, np.ones(len(truth))])
    ranges = {"macro_f1": (0.0, float(known.mean())), "micro_f1": (0.0, 1.0)}
    ranges |= {"sample_f1": (0.0, 1.0)}
    return Sums(table, read, ranges, {"macro_f1": truth.astype(float)}, probs)


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
    dims, used = truth.shape[1], known.sum(0) >= 2
    names = [f"{name}_ccc" for name in AFFECT] if dims == len(AFFECT) else []

    def read(sums: np.ndarray) -> dict[str, np.ndarray]:
        count, *means = np.moveaxis(sums.reshape(-1, dims, 6), 2, 0)
        p, t, pp, tt, pt = (ratio(m, count) for m in means)  # (R, D)
        value = ratio(2 * (pt - p * t), pp - p * p + tt - t * t + (p - t) ** 2)
        # a dimension that the rows left have no truths of says nothing: it is left out of the mean
        there = used & (count >= 2)
        metrics = {"ccc": ratio((value * there).sum(1), there.sum(1))}
        return metrics | {name: value[:, i] for i, name in enumerate(names)}

    ranges = dict.fromkeys(["ccc", *names], (-1.0, 1.0))
    return Sums(parts.reshape(len(truth), -1), read, ranges)


def of_sums(one: Sums, other: Sums | None, group: Any) -> dict[str, Interval]:
    """Returns the 95 % interval of each metric, or of its difference to `other` on the same rows.

    Args:
        one: of N rows.
        other: of the same rows; None for the metrics themselves.
        group: (N,) or None.
    """
    if not len(one.table):
        return {}
    tables = [one.table] if other is None else [one.table, other.table]
    number = numbered(group, len(one.table))

    def by_group(table: np.ndarray) -> np.ndarray:
        sums = np.zeros((int(number.max()) + 1, table.shape[1]))
        np.add.at(sums, number, table)
        return sums

    groups = Units([by_group(t) for t in tables]) if number.max() >= 1 else None
    every = np.ones((len(number), 1))
    counts = {m: by_group(one.by_class.get(m, every)) for m in one.ranges}
    found = over_units(one.read, Units(tables), groups, one.ranges, counts)
    if other is None or one.probs is None or other.probs is None:
        return found
    return no_difference(found) if one_model([one.probs, other.probs]) else found
