"""The oracle: what all labels are worth to the best of several students.

Were it the rules' own student, shares of the way to it would say little: a wider or another student
with fewer labels can beat it. Gold out-of-fold chooses among them; the test rows never do.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np

from ...config.learning import LearningConfig
from ...evaluation.metrics import score
from ...training.dataset import Dataset
from .arms import ArmPredictions, Starts, sklearn_arm, supervised_arm

STUDENTS: tuple[dict[str, Any], ...] = (
    {},  # as the benchmark's settings have it
    {"kind": "discriminant", "components": 50},
    {"kind": "discriminant", "components": 200},
    {"kind": "logistic"},
)
"""Settings of section model of each student that is tried beside scikit-learn's logistic one."""


def oracle_arm(dataset: Dataset, learning: LearningConfig, starts: Starts) -> ArmPredictions:
    """Returns the test answers of the student that is best out-of-fold with all labels."""
    begun, metric = time.process_time(), learning.rounds.metric
    tried = [
        supervised_arm(dataset, replace(learning, model=replace(learning.model, **words)), starts)
        for words in STUDENTS
    ]
    linear = sklearn_arm(dataset, "logistic")
    out_of_fold = logistic_out_of_fold(dataset, metric)
    linear.facts |= {"oof_start": out_of_fold, "oof_final": out_of_fold}
    best = max([*tried, linear], key=lambda arm: arm.facts["oof_final"])
    best.facts["cpu_seconds"] = time.process_time() - begun
    return best


def logistic_out_of_fold(dataset: Dataset, metric: str) -> float:
    """Returns the metric of scikit-learn's logistic regression on gold rows, out-of-fold."""
    label = dataset.label[dataset.gold].cpu().numpy()
    fold, predicted = dataset.fold.cpu().numpy(), np.zeros_like(label)
    for k in range(dataset.folds):
        inside, outside = (dataset.gold[dataset.fold != k], dataset.gold[dataset.fold == k])
        part = replace(dataset, gold=inside, test=outside)
        predicted[fold == k] = sklearn_arm(part, "logistic").predicted
    probs = np.eye(len(dataset.classes))[predicted]
    return float(getattr(score(probs, label, dataset.classes), metric))
