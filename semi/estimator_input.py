"""What `SelfTrainingEstimator` is given, checked the way scikit-learn checks it.

Letters: N rows, D columns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

UNLABELED = -1


def plain(table: Any) -> Any:
    """Returns a tensor as an array; everything else as it is."""
    return table.detach().cpu().numpy() if isinstance(table, torch.Tensor) else table


def validated(estimator: Any, X: Any, y: Any, *, reset: bool) -> Any:
    """Returns X (N, D), float32 where it came so, else float64, and y (N,); scikit-learn checks."""
    kind = {"dtype": [np.float64, np.float32], "order": "C", "reset": reset}
    try:
        from sklearn.utils.validation import validate_data
    except ImportError:  # scikit-learn < 1.6
        check = estimator._validate_data
    else:

        def check(*args, **words):
            return validate_data(estimator, *args, **words)

    return check(X, y, **kind) if reset else (check(X, **kind), None)


def labeled_rows(y: np.ndarray) -> np.ndarray:
    """Returns which rows are labelled (N,) bool: all whose entry is not -1."""
    if y.dtype.kind in "US":
        return np.ones(len(y), dtype=bool)
    labeled = np.array([entry != UNLABELED for entry in y.tolist()], dtype=bool)
    if not labeled.any():
        raise ValueError("y has no labelled row: every entry is -1")
    if y.dtype.kind in "if" and len(np.unique(y[labeled])) == 1:
        return np.ones(len(y), dtype=bool)  # -1 and +1: the usual coding of two classes
    return labeled


def grouped(groups: Any, rows: int) -> np.ndarray:
    """Returns each row's group as text (N,); without groups every row is one of its own."""
    if groups is None:
        return np.array([str(i) for i in range(rows)])
    given = np.asarray(plain(groups))
    if given.shape != (rows,):
        raise ValueError(f"groups must have one entry for each of the {rows} rows of X, got shape "
                         f"{given.shape}")  # fmt: skip
    return given.astype(str)
