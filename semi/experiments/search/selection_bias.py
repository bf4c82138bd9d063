"""How much of a search's gain is luck: choose on resampled speakers, score on those left out.

The best of many trials looks better than it is (BBC-CV, https://arxiv.org/abs/1708.07180).
Letters: T trials, S groups, n gold rows, C classes, R resamples.
"""

from __future__ import annotations

import numpy as np

from ...evaluation.intervals import COUNT_METRICS, metrics_from_confusion
from ...evaluation.multitask import Sums, affect_sums, multi_sums

RESAMPLES = 1000


def single_sums(predicted: np.ndarray, label: np.ndarray, classes: int) -> Sums:
    """Returns the table of counts of each row (n,) with one label."""
    table = np.eye(classes**2)[label * classes + predicted]
    known = np.bincount(label, minlength=classes) > 0

    def read(sums: np.ndarray) -> dict[str, np.ndarray]:
        return metrics_from_confusion(sums.reshape(-1, classes, classes), known)

    return Sums(table, read, dict.fromkeys(COUNT_METRICS, (0.0, 1.0)))


def sums_of(trial: dict, first: dict) -> Sums:
    """Returns the sums of a trial's out-of-fold answers; `first` holds what is true."""
    predicted = np.array(trial["predicted"])
    if first.get("affect") is not None:
        return affect_sums(predicted, np.array(first["affect"], dtype=float))
    if first.get("several") is not None:
        return multi_sums(predicted, np.array(first["several"]))
    return single_sums(predicted, np.array(first["label"]), len(first["classes"]))


def corrected_gain(trials: list[dict], metric: str, seed: int) -> float | None:
    """Returns the gain over trial 0 of a choice made on resampled groups, scored on the others.

    None with fewer than four groups or two trials, or where it cannot be read from sums.
    """
    first = trials[0]
    group = np.unique(np.array(first["group"]), return_inverse=True)[1].reshape(-1)
    count = int(group.max()) + 1
    several = first.get("several") is not None or first.get("affect") is not None
    if count < 4 or len(trials) < 2 or (metric not in COUNT_METRICS and not several):
        return None
    rng = np.random.default_rng(seed)
    times = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)  # (R, S)
    out = (times == 0).astype(float)
    times, out = times[out.any(1)], out[out.any(1)]
    inside, outside = [], []
    for trial in trials:
        sums = sums_of(trial, first)
        of_unit = np.zeros((count, sums.table.shape[1]))
        np.add.at(of_unit, group, sums.table)
        inside.append(sums.read(times @ of_unit)[metric])
        outside.append(sums.read(out @ of_unit)[metric])
    chosen = np.argmax(inside, axis=0)  # (R,)
    scored = np.array(outside)
    return float((scored[chosen, np.arange(len(chosen))] - scored[0]).mean())
