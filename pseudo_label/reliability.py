"""How far confidence can be trusted: calibration error, reliability table, risk against coverage.

All functions take (N,) confidences and (N,) rightness, or (N, C) probabilities and (N,) labels, as
arrays or tensors, and return plain numbers or numpy arrays.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class Reliability:
    """A reliability table, one entry per bin (K,)."""

    low: list[float]  # smallest confidence in the bin
    high: list[float]
    confidence: list[float]  # mean confidence
    accuracy: list[float]
    rows: list[int]

    @property
    def ece(self) -> float:
        """Row-weighted mean gap between confidence and accuracy."""
        gaps = zip(self.confidence, self.accuracy, self.rows, strict=True)
        total = sum(abs(c - a) * n for c, a, n in gaps)
        return total / max(sum(self.rows), 1)


def reliability(confidence: Any, right: Any, bins: int = 15) -> Reliability:
    """Returns the reliability table over bins of equal mass; equal confidences share a bin.

    Bin edges fall only where the confidence changes, so the order of the rows cannot matter.
    """
    confidence, right = as_array(confidence).astype(float), as_array(right).astype(float)
    order = np.argsort(confidence, kind="stable")
    c, r = confidence[order], right[order]
    table = Reliability([], [], [], [], [])
    if not len(c):
        return table
    changes = np.flatnonzero(np.diff(c) > 0) + 1  # possible edges
    wanted = np.arange(1, bins) * len(c) / bins
    place = np.searchsorted(changes, wanted)
    edges = changes[place[place < len(changes)]] if len(changes) else changes
    edges = np.unique(np.concatenate([[0], edges, [len(c)]]))
    for begin, end in itertools.pairwise(edges):
        table.low.append(float(c[begin]))
        table.high.append(float(c[end - 1]))
        table.confidence.append(float(c[begin:end].mean()))
        table.accuracy.append(float(r[begin:end].mean()))
        table.rows.append(int(end - begin))
    return table


def ece(confidence: Any, right: Any, bins: int = 15) -> float:
    """Returns the expected calibration error over bins of equal mass."""
    return reliability(confidence, right, bins).ece


def brier(probs: Any, label: Any) -> float:
    """Returns the mean squared distance of (N, C) probabilities to the one-hot label, in [0, 2]."""
    probs, label = as_array(probs).astype(float), as_array(label).astype(int)
    if not len(label):
        return float("nan")
    return float(((probs - np.eye(probs.shape[1])[label]) ** 2).sum(1).mean())


def nll(probs: Any, label: Any) -> float:
    """Returns the mean negative log probability of the label."""
    probs, label = as_array(probs).astype(float), as_array(label).astype(int)
    if not len(label):
        return float("nan")
    return float(-np.log(np.clip(probs[np.arange(len(label)), label], 1e-12, None)).mean())


def risk_coverage(confidence: Any, right: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns coverage (N,) and the error rate among that most confident share (N,).

    Equal confidences share one risk (their mean), so the order of the rows cannot matter.
    """
    confidence, wrong = as_array(confidence).astype(float), 1.0 - as_array(right).astype(float)
    order = np.argsort(-confidence, kind="stable")
    if not len(order):
        return np.zeros(0), np.zeros(0)
    _, start, size = np.unique(-confidence[order], return_index=True, return_counts=True)
    mean = np.repeat(np.add.reduceat(wrong[order], start) / size, size)
    taken = np.arange(1, len(order) + 1)
    return taken / len(order), np.cumsum(mean) / taken


def aurc(confidence: Any, right: Any) -> float:
    """Returns the area under the risk-coverage curve: mean selective error over coverages."""
    risk = risk_coverage(confidence, right)[1]
    return float(risk.mean()) if len(risk) else float("nan")


def as_array(x: Any) -> np.ndarray:
    """Returns a numpy array of an array, tensor or list."""
    return np.asarray(x.detach().cpu() if hasattr(x, "detach") else x)
