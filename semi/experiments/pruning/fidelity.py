"""How far one set of utterance vectors is from another, and what that does to predictions.

Letters: N utterances, D features, K neighbours.
"""

from __future__ import annotations

import numpy as np

from models.encoders.numerics import centred_cosine

__all__ = ["centred_cosine", "linear_cka", "neighbour_overlap", "neighbours", "out_of_fold"]
NEIGHBOURS = 10


def neighbours(x: np.ndarray, k: int = NEIGHBOURS) -> np.ndarray:
    """Returns (N, K) the nearest other rows of each row by centred cosine."""
    x = x - x.mean(0)
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    k = min(k, len(x) - 1)
    nearest = np.empty((len(x), k), np.int64)
    for first in range(0, len(x), 1024):
        block = x[first : first + 1024] @ x.T
        block[np.arange(len(block)), np.arange(first, first + len(block))] = -np.inf
        nearest[first : first + 1024] = np.argpartition(-block, k - 1, axis=1)[:, :k]
    return nearest


def neighbour_overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns (N,) the share of each row's nearest neighbours (N, K) that two sets agree on."""
    return (a[:, :, None] == b[:, None, :]).any(2).mean(1)


def linear_cka(a: np.ndarray, b: np.ndarray) -> float:
    """Returns linear CKA of two sets of vectors (https://arxiv.org/abs/1905.00414, eq. 5)."""
    a, b = a - a.mean(0), b - b.mean(0)
    cross = np.linalg.norm(a.T @ b) ** 2
    return float(cross / max(np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b), 1e-12))


def out_of_fold(x: np.ndarray, label: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Returns (N,) a logistic regression's predictions; rows with a fold by models without it.

    Rows with fold -1 have no gold: a model of all gold rows predicts them. `label` (N,) is read
    only where fold >= 0.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    predicted = np.full(len(x), -1)
    strength = 5 / x.shape[1]  # about 0.01 at 512 wide, and the same in effect at other widths
    gold = fold >= 0
    for part in np.unique(fold):
        held, others = fold == part, gold & (fold != part)
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
        predicted[held] = model.fit(x[others], label[others]).predict(x[held])
    return predicted
