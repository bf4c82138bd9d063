"""What is a label for `SelfTrainingEstimator`: -1 is none, in every container and every score."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import make_classification
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV, cross_val_score

from semi.estimator import SelfTrainingEstimator
from semi.estimator_labels import labeled_scorer

WORDS = np.array(["ang", "hap", "sad"])
QUICK = {"random_state": 0, "max_rounds": 1, "model": "discriminant"}


@pytest.fixture(scope="module")
def rows():
    x, truth = make_classification(
        200, 12, n_informative=6, n_classes=3, class_sep=2.0, random_state=0
    )
    known = np.random.default_rng(0).random(200) < 0.3
    return x, truth, known


@pytest.mark.parametrize(
    "container",
    [
        list,
        np.array,
        lambda y: np.array(y, dtype=object),
        lambda y: np.array([str(v) for v in y], dtype=object),
        lambda y: pd.Series(y),
        lambda y: pd.Series([str(v) for v in y], dtype="string"),
        lambda y: pd.Series([str(v) for v in y], dtype="category"),
    ],
    ids=["list", "str", "object", "object of text", "series", "pandas string", "categories"],
)
def test_minus_one_among_words_is_unlabelled_in_every_container(rows, container):
    x, truth, known = rows
    y = container([str(WORDS[t]) if k else -1 for t, k in zip(truth, known, strict=True)])
    model = SelfTrainingEstimator(**QUICK).fit(x, y)
    assert model.classes_.tolist() == ["ang", "hap", "sad"]
    assert ((model.labeled_iter_ == 0) == known).all()
    assert set(model.predict(x)) <= set(WORDS)
    want = (model.predict(x) == WORDS[truth])[known].mean()
    assert model.score(x, y) == pytest.approx(want)


@pytest.mark.parametrize("nothing", [None, float("nan"), "nan", ""])
def test_other_words_for_nothing_are_refused(rows, nothing):
    x, truth, _ = rows
    y = np.array([str(WORDS[t]) for t in truth], dtype=object)
    y[3] = nothing
    with pytest.raises(ValueError, match=r"write -1 where a row has none|NaN|missing"):
        SelfTrainingEstimator(**QUICK).fit(x, y)


@pytest.mark.parametrize("container", [list, lambda y: np.array(y, dtype=object), pd.Series,
                                       lambda y: pd.Series(y, dtype="string")])  # fmt: skip
def test_pandas_na_is_refused_in_every_container(rows, container):
    x, truth, _ = rows
    y = container([pd.NA, *(str(WORDS[t]) for t in truth[1:])])
    with pytest.raises(ValueError, match=r"y holds <NA>, which is no label; write -1|NaN"):
        SelfTrainingEstimator(**QUICK).fit(x, y)


@pytest.mark.parametrize("word", ["unlabeled", "Unlabelled", "?", "-"])
def test_a_word_that_says_no_label_is_refused_as_in_a_table(rows, word):
    x, truth, _ = rows
    y = np.array([word, *(str(WORDS[t]) for t in truth[1:])])
    with pytest.raises(ValueError, match="reads like 'no label'; write -1 for such rows"):
        SelfTrainingEstimator(**QUICK).fit(x, y)


def test_minus_one_and_one_as_texts_are_two_classes(rows):
    x, truth, _ = rows
    model = SelfTrainingEstimator(**QUICK).fit(x, np.where(truth == 0, "-1", "1"))
    assert model.classes_.tolist() == ["-1", "1"]


def test_the_scorer_leaves_out_rows_without_a_label(rows):
    x, truth, known = rows
    y = np.where(known, truth, -1)
    model = SelfTrainingEstimator(**QUICK).fit(x, y)
    want = f1_score(y[known], model.predict(x[known]), average="macro")
    assert labeled_scorer("f1_macro")(model, x, y) == pytest.approx(want)
    assert labeled_scorer("f1_macro")(model, pd.DataFrame(x), pd.Series(y)) == pytest.approx(want)
    plain = cross_val_score(SelfTrainingEstimator(**QUICK), x, y, cv=3, scoring="f1_macro")
    search = GridSearchCV(
        SelfTrainingEstimator(**QUICK),
        {"components": [4]},
        cv=3,
        scoring=labeled_scorer("f1_macro"),
    )
    best = search.fit(x, y).best_score_
    assert best > 0.6 > plain.mean()  # -1 counted as a class that no answer names
    with pytest.raises(ValueError, match="no labelled row to score: every entry is -1"):
        labeled_scorer()(model, x, np.full(len(x), -1))


def test_weights_are_refused_by_a_sentence(rows):
    x, truth, _ = rows
    with pytest.raises(TypeError, match=r"takes X, y and groups, not sample_weight; .* repeat"):
        SelfTrainingEstimator(**QUICK).fit(x, truth, sample_weight=np.ones(len(x)))
