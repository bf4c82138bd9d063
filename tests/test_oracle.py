"""The oracle of a benchmark: the best of several students, chosen out-of-fold and never by test."""

import dataclasses

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from tiny_learning import tiny_dataset, tiny_learning

from semi.evaluation.metrics import score
from semi.experiments.benchmark.arms import Starts, supervised_arm
from semi.experiments.benchmark.oracle import STUDENTS, logistic_out_of_fold, oracle_arm


@pytest.fixture(scope="module")
def tried():
    """Returns a dataset of a poor given student, its settings, and every student's score."""
    dataset, learning = tiny_dataset(gold=60, spread=1.0, seed=2), tiny_learning(steps=1)
    scores = []
    for words in STUDENTS:
        model = dataclasses.replace(learning.model, **words)
        arm = supervised_arm(dataset, dataclasses.replace(learning, model=model), Starts())
        scores.append(arm.facts["oof_final"])
    return dataset, learning, [*scores, logistic_out_of_fold(dataset, "macro_f1")]


def test_the_best_student_out_of_fold_answers(tried):
    dataset, learning, scores = tried
    found = oracle_arm(dataset, learning, Starts())
    assert found.facts["oof_final"] == max(scores) >= scores[0]
    assert found.predicted.shape == (len(dataset.test),)


def test_test_labels_choose_nothing(tried):
    dataset, learning, _ = tried
    spoilt = dataclasses.replace(dataset, label=dataset.label.clone())
    spoilt.label[dataset.test] = (spoilt.label[dataset.test] + 1) % len(dataset.classes)
    one, other = (oracle_arm(d, learning, Starts()) for d in (dataset, spoilt))
    assert (one.predicted == other.predicted).all()
    assert one.facts["oof_final"] == other.facts["oof_final"]


def test_logistic_regression_is_scored_on_rows_it_has_not_seen(tried):
    dataset, _, scores = tried
    x = np.concatenate([v.numpy() for v in dataset.values.values()], 1)[dataset.gold]
    y, fold = dataset.label[dataset.gold].numpy(), dataset.fold.numpy()
    said = np.zeros_like(y)
    for k in range(dataset.folds):
        model = LogisticRegression(C=0.3, max_iter=300, class_weight="balanced")
        said[fold == k] = model.fit(x[fold != k], y[fold != k]).predict(x[fold == k])
    assert scores[-1] == pytest.approx(score(np.eye(3)[said], y, 3).macro_f1)
