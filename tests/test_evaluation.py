"""Metrics equal scikit-learn with absent classes counted."""

import json
import math

import numpy as np
import pytest
import torch

from semi.evaluation.metrics import affect_scores, mcnemar, pseudo_report, score

NAMES = ["anger", "calm", "fear", "joy", "sad"]


def predictions(rows=200, seed=0, strength=1.0):
    """Probabilities over five classes; class 4 is absent from the truth."""
    rng = np.random.default_rng(seed)
    label = rng.choice(4, rows, p=[0.5, 0.3, 0.15, 0.05])
    logits = rng.normal(size=(rows, 5)) + strength * np.eye(5)[label]
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return probs, label, rng.integers(0, 8, rows)


def test_scores_equal_scikit_learn_with_absent_classes_at_zero():
    from sklearn import metrics as sk

    probs, label, _ = predictions()
    got, decided = score(probs, label, NAMES), probs.argmax(1)
    common = {"labels": range(5), "zero_division": 0}
    assert got.accuracy == pytest.approx(sk.accuracy_score(label, decided))
    assert got.waf == pytest.approx(sk.f1_score(label, decided, average="weighted", **common))
    assert got.macro_f1 == pytest.approx(sk.f1_score(label, decided, average="macro", **common))
    assert got.uar == pytest.approx(sk.recall_score(label, decided, average="macro", **common))
    assert got.micro_f1 == pytest.approx(sk.f1_score(label, decided, average="micro", **common))
    assert got.confusion == sk.confusion_matrix(label, decided, labels=range(5)).tolist()
    assert got.recall[4] == got.f1[4] == 0.0 and got.support[4] == 0
    assert got.nll == pytest.approx(sk.log_loss(label, probs, labels=range(5)))
    assert got.recall_std == pytest.approx(float(np.std(got.recall)))
    assert 0 < got.ece < 1 and 0 < got.aurc < 1 and 0 < got.brier < 2


def test_tensors_names_and_counts_give_the_same_scores_and_json():
    probs, label, _ = predictions()
    a = score(torch.tensor(probs), torch.tensor(label), NAMES).to_dict()
    b = score(probs, label, 5).to_dict()
    assert a["classes"] == NAMES and b["classes"] == list("01234")
    assert {k: v for k, v in a.items() if k != "classes"} == {
        k: v for k, v in b.items() if k != "classes"
    }
    assert json.loads(json.dumps(a)) == a


def test_other_decisions_than_the_argmax_can_be_scored():
    probs, label, _ = predictions()
    assert score(probs, label, 5, predicted=label).accuracy == 1.0


def test_no_rows_give_no_numbers():
    empty = score(np.zeros((0, 5)), np.zeros(0, dtype=int), NAMES)
    assert empty.rows == 0 and math.isnan(empty.waf) and empty.support == [0] * 5


def test_rows_without_gold_are_refused():
    probs, label, _ = predictions()
    label[3] = -1
    with pytest.raises(ValueError, match="metrics are computed on gold rows only"):
        score(probs, label, 5)
    with pytest.raises(ValueError, match=r"probs must have shape \(N, 4\), got \(200, 5\)"):
        score(probs, label, 4)
    with pytest.raises(ValueError, match="200 rows of probs for 10 labels"):
        score(probs, label[:10], 5)


def test_pseudo_labels_are_judged_where_gold_was_hidden():
    chosen = np.array([True, True, True, False, True, False])
    label = np.array([0, 0, 1, 1, 1, 0])
    hidden = np.array([0, 1, 1, 1, -1, -1])
    got = pseudo_report(chosen, label, hidden, ["a", "b"])
    assert (got.rows, got.chosen, got.checked) == (6, 4, 3)
    assert got.coverage == pytest.approx(4 / 6)
    assert got.precision == pytest.approx(2 / 3)
    assert got.recall == pytest.approx(2 / 4)
    assert got.by_class["a"] == {"chosen": 2, "precision": 0.5, "recall": 1.0}
    assert got.by_class["b"]["precision"] == 1.0
    assert got.by_class["b"]["recall"] == pytest.approx(1 / 3)
    nothing = pseudo_report(chosen, label, hidden * 0 - 1, ["a", "b"])
    assert math.isnan(nothing.precision) and nothing.checked == 0


def test_mcnemar_equals_the_binomial():
    label = np.zeros(20, dtype=int)
    first, second = label.copy(), label.copy()
    first[:2], second[2:11] = 1, 1  # first alone wrong on 2, second alone on 9
    got = mcnemar(first, second, label)
    assert (got["only_first"], got["only_second"]) == (9, 2)
    tail = sum(math.comb(11, k) for k in range(3)) / 2**11
    assert got["p_value"] == pytest.approx(2 * tail)
    assert mcnemar(first, first, label)["p_value"] == 1.0


def test_affect_scores_equal_numpy():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=100)
    predicted = 0.5 * truth + 0.3 + 0.2 * rng.normal(size=100)
    got = affect_scores(predicted, truth)
    r = np.corrcoef(predicted, truth)[0, 1]
    bottom = predicted.var() + truth.var() + (predicted.mean() - truth.mean()) ** 2
    assert got["pearson"] == pytest.approx(r)
    assert got["ccc"] == pytest.approx(2 * r * predicted.std() * truth.std() / bottom)
    assert got["rmse"] == pytest.approx(math.sqrt(((predicted - truth) ** 2).mean()))
    truth[:10] = np.nan
    assert affect_scores(predicted, truth)["rows"] == 90
    assert affect_scores([1.0, 1.0], [2.0, 2.0])["ccc"] == 0.0
    assert math.isnan(affect_scores([1.0], [1.0])["ccc"])
