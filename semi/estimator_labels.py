"""Labels as `SelfTrainingEstimator` reads them: which rows have one, and scores on those alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import get_scorer
from sklearn.utils import column_or_1d

from .data.missing import MISSING
from .data.unlabelled import says_no_label
from .data.wording import shown

UNLABELED = -1


def is_labeled(y: np.ndarray, classes: np.ndarray | None = None) -> np.ndarray:
    """Returns which entries (N,) are labels, bool: all but -1.

    Among words -1 stands as a text ('-1'), since NumPy makes one of it: it counts as -1 in every
    container. Where `classes`, learned before, hold -1, it is a label.

    Raises:
        ValueError: an entry is None, NaN or a text that says so, such as "unlabeled".
    """
    entries = y.tolist()
    for entry in entries:
        if entry is None or type(entry).__name__ == "NAType" or entry != entry or entry in MISSING:
            raise ValueError(
                f"y holds '{shown(entry)}', which is no label; write -1 where a row has none"
            )
    words = {entry for entry in entries if isinstance(entry, str)}
    for word in sorted(words - {str(UNLABELED)}):
        if classes is None and says_no_label(word):
            raise ValueError(
                f"y holds '{shown(word)}', which reads like 'no label'; write -1 for such rows"
            )
    if classes is not None and {UNLABELED, str(UNLABELED)} & set(classes.tolist()):
        return np.ones(len(y), dtype=bool)
    return np.array([entry not in (UNLABELED, str(UNLABELED)) for entry in entries], dtype=bool)


def without_na(y: Any) -> Any:
    """Returns y as it is; ValueError where it holds pd.NA, which scikit-learn cannot compare."""
    entries = y.tolist() if hasattr(y, "tolist") else y
    if isinstance(entries, (list, tuple)) and any(type(e).__name__ == "NAType" for e in entries):
        raise ValueError("y holds <NA>, which is no label; write -1 where a row has none")
    return y


def labeled_rows(y: np.ndarray) -> np.ndarray:
    """Returns which rows are labelled (N,) bool, for learning: see `is_labeled`."""
    labeled = is_labeled(y)
    if not labeled.any():
        raise ValueError("y has no labelled row: every entry is -1")
    if len(labels := set(y[labeled].tolist())) == 1 and str(labels.pop()) in ("0", "1", "1.0"):
        return np.ones(len(y), dtype=bool)  # -1 and +1: the usual coding of two classes
    return labeled


class labeled_scorer:
    """A scorer for searches and cross-validation that leaves out rows whose y is -1.

    scikit-learn's own scorers take -1 for one more class.

    >>> GridSearchCV(SelfTrainingEstimator(), grid, scoring=labeled_scorer("f1_macro"))
    """

    def __init__(self, scoring: Any = "accuracy"):
        """`scoring` is a name or scorer of scikit-learn, such as "f1_macro"."""
        self.scoring = scoring

    def __call__(self, estimator: Any, X: Any, y: Any) -> float:
        """Returns the score on the labelled rows; ValueError where there is none."""
        y = column_or_1d(without_na(y))
        known = np.flatnonzero(is_labeled(y, getattr(estimator, "classes_", None)))
        if not len(known):
            raise ValueError("y has no labelled row to score: every entry is -1")
        rows = X.iloc[known] if hasattr(X, "iloc") else np.asarray(X)[known]
        return float(get_scorer(self.scoring)(estimator, rows, y[known]))
