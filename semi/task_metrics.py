"""Metrics of several labels a row, and of valence and arousal, with intervals by group.

Letters: N rows, C classes, S units (groups or rows), R resamples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pseudo_label.reliability import as_array

from .evaluation import affect_scores
from .intervals import Interval, ratio

AFFECT = ("valence", "arousal")
MULTI = ("macro_f1", "micro_f1", "sample_f1")
YES = 0.5  # a label is given from this probability on


def multi_measured(probs: Any, truth: Any, group: Any, classes: list[str], seed: int) -> dict:
    """Returns F1 over classes, over all answers and over rows, from (N, C) against 0 and 1.

    A row without any label, given or said, counts as right (F1 1); a class without any counts 0.
    """
    probs, truth = as_array(probs).astype(float), as_array(truth).astype(float) > 0.5
    said = probs >= YES
    counts, per_row = _counts(said, truth)
    hit, told, real = counts.sum(0)
    values = _multi_values(counts.sum(0)[None], per_row.sum()[None], np.array([len(truth)]))
    found = {
        "rows": len(truth),
        **{k: float(v[0]) for k, v in values.items()},
        "exact": float((said == truth).all(1).mean()) if len(truth) else float("nan"),
        "classes": list(classes),
        "precision": ratio(hit, told).tolist(),
        "recall": ratio(hit, real).tolist(),
        "f1": ratio(2 * hit, told + real).tolist(),
        "support": real.astype(int).tolist(),
    }
    table = np.concatenate([counts.reshape(len(truth), -1), per_row[:, None]], 1)

    def read(sums: np.ndarray, rows: np.ndarray) -> dict[str, np.ndarray]:
        return _multi_values(sums[:, :-1].reshape(-1, 3, len(classes)), sums[:, -1], rows)

    found["intervals"] = _intervals(table, group, read, seed)
    return found


def affect_measured(predicted: Any, truth: Any, group: Any, seed: int) -> dict:
    """Returns CCC, Pearson's r and RMSE of (N, 2) valence and arousal; a NaN truth is unknown."""
    predicted, truth = as_array(predicted).astype(float), as_array(truth).astype(float)
    found: dict[str, Any] = {}
    for i, name in enumerate(AFFECT):
        known = ~np.isnan(truth[:, i])
        found[name] = affect_scores(predicted[:, i], truth[:, i])
        found[name]["intervals"] = ccc_intervals(
            predicted[known, i], truth[known, i], as_array(group)[known], seed
        )
    told = [found[name]["ccc"] for name in AFFECT if found[name]["rows"] >= 2]
    found["ccc"] = float(np.mean(told)) if told else float("nan")
    return found


def ccc_intervals(predicted: np.ndarray, truth: np.ndarray, group: Any, seed: int) -> dict:
    """Returns the bootstrap interval of CCC under resampling of whole groups."""
    if len(truth) < 2:
        return {}
    p, t = predicted - truth.mean(), truth - truth.mean()  # shifted alike: sums stay exact
    table = np.stack([p, t, p * p, t * t, p * t], 1)

    def read(sums: np.ndarray, rows: np.ndarray) -> dict[str, np.ndarray]:
        p, t, pp, tt, pt = sums.T / rows
        return {"ccc": ratio(2 * (pt - p * t), pp - p * p + tt - t * t + (p - t) ** 2)}

    return _intervals(table, group, read, seed)


def mean_ccc(predicted: Any, truth: Any, group: Any, seed: int) -> tuple[float, float]:
    """Returns the mean CCC of valence and arousal, and its standard error over groups."""
    found = affect_measured(predicted, truth, group, seed)
    errors = [found[a]["intervals"]["ccc"]["se"] for a in AFFECT if found[a]["intervals"]]
    return found["ccc"], float(np.mean(errors)) if errors else float("nan")


def _counts(said: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns (N, 3, C) of hit, said, true, and the F1 of every row (N,)."""
    counts = np.stack([said & truth, said, truth], 1).astype(float)
    hit, told, real = counts.sum(2).T
    return counts, np.where(told + real > 0, ratio(2 * hit, told + real), 1.0)


def _multi_values(
    counts: np.ndarray, row_f1: np.ndarray, rows: np.ndarray
) -> dict[str, np.ndarray]:
    hit, told, real = counts[:, 0], counts[:, 1], counts[:, 2]  # (R, C)
    pooled = ratio(2 * hit.sum(1), told.sum(1) + real.sum(1))
    return {
        "macro_f1": ratio(2 * hit, told + real).mean(1),
        "micro_f1": pooled,
        "sample_f1": ratio(row_f1, rows.astype(float)),
    }


Read = Callable[[np.ndarray, np.ndarray], dict[str, np.ndarray]]


def _intervals(table: np.ndarray, group: Any, read: Read, seed: int, n: int = 2000) -> dict:
    """Returns the interval of each metric that `read` makes of sums (R, K) and row counts (R,)."""
    if not len(table):
        return {}
    units = np.unique(as_array(group).astype(str), return_inverse=True)[1].reshape(-1)
    unit, note = "groups", ""
    if units.max(initial=0) < 1:
        units, unit = np.arange(len(table)), "rows"
        note = "fewer than two groups: rows were resampled, the interval is too narrow"
    count = int(units.max()) + 1
    table = np.concatenate([table, np.ones((len(table), 1))], 1)
    sums = np.zeros((count, table.shape[1]))
    np.add.at(sums, units, table)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=n) @ sums
    whole = read(sums[:, :-1].sum(0)[None], sums[:, -1].sum()[None])
    found = {}
    for name, values in read(drawn[:, :-1], drawn[:, -1]).items():
        low, high = np.percentile(values, [2.5, 97.5])
        interval = Interval(
            float(whole[name][0]), float(low), float(high), float(values.std(ddof=1)), unit,
            count, note,
        )  # fmt: skip
        found[name] = interval.to_dict()
    return found
