import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from semi.estimator import SelfTrainingEstimator
from semi.estimator_columns import ColumnScaling
from semi.self_training.stopping import STOPPED

SMALL = {"steps": 60, "folds": 2, "hidden": 16, "lr": 5e-3, "random_state": 0}
QUICK = {**SMALL, "steps": 5}


def blobs(n=90, dims=6, hidden=0.7, seed=0):
    """Returns X, y with most labels hidden, and the truth."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % 3
    x = rng.normal(size=(3, dims))[truth] * 2 + rng.normal(size=(n, dims))
    y = truth.copy()
    y[int((1 - hidden) * n) :] = -1
    return x, y, truth


@pytest.fixture(scope="module")
def fitted():
    x, y, truth = blobs()
    return SelfTrainingEstimator(**SMALL).fit(x, y), x, y, truth


@pytest.mark.filterwarnings("ignore")  # the checks themselves use deprecated parts
@pytest.mark.parametrize(("model", "rounds"), [("discriminant", 8), ("contrastive", 1)])
def test_it_passes_every_check_of_scikit_learn(model, rounds):
    words = {"model": model, "max_rounds": rounds}
    check_estimator(
        SelfTrainingEstimator(**words, steps=80, members=1, folds=2, hidden=16, lr=5e-3)
    )


def test_settings_of_another_model_are_refused():
    x, y, _ = blobs()
    with pytest.raises(ValueError, match="contrast_steps needs model='contrastive'"):
        SelfTrainingEstimator(**QUICK, contrast_steps=10).fit(x, y)


def test_given_labels_never_change_and_rounds_are_stamped(fitted):
    model, _, y, _ = fitted
    given = y != -1
    assert (model.transduction_[given] == y[given]).all()
    assert (model.labeled_iter_[given] == 0).all()
    assert ((model.labeled_iter_ == -1) == (model.transduction_ == -1)).all()
    assert (model.labeled_iter_.max() > 0) == (model.best_iter_ > 0)
    assert model.labeled_iter_.max() <= model.best_iter_ <= model.n_iter_ <= model.max_rounds
    assert model.termination_condition_ in STOPPED
    assert len(model.scores_) == model.n_iter_ + 1


def test_it_learns_and_its_probabilities_are_probabilities(fitted):
    model, x, _, truth = fitted
    probs = model.predict_proba(x)
    assert (model.predict(x) == truth).mean() > 0.8
    assert probs.shape == (90, 3) and np.allclose(probs.sum(1), 1, atol=1e-12)
    assert np.allclose(model.predict_proba(x[:1]), probs[:1], atol=1e-12)  # a row by itself


def test_zero_rounds_are_supervised_training():
    x, y, _ = blobs()
    none = SelfTrainingEstimator(**QUICK, max_rounds=0).fit(x, y)
    assert none.n_iter_ == none.best_iter_ == 0
    assert (none.transduction_ == y).all()
    only = SelfTrainingEstimator(**QUICK).fit(x[y != -1], y[y != -1])
    assert only.termination_condition_ == "all_labeled" and only.n_iter_ == 0


def test_the_same_seed_gives_the_same_model_whatever_the_container():
    x, y, _ = blobs()
    first = SelfTrainingEstimator(**QUICK).fit(x, y).predict_proba(x)
    frame = pd.DataFrame(x, columns=[f"f{i}" for i in range(6)])
    for table, labels in ((frame, pd.Series(y)), (torch.tensor(x), torch.tensor(y))):
        model = SelfTrainingEstimator(**QUICK).fit(table, labels)
        assert np.array_equal(model.predict_proba(table), first)
    assert list(SelfTrainingEstimator(**QUICK).fit(frame, y).feature_names_in_) == list(frame)
    other = SelfTrainingEstimator(**{**QUICK, "random_state": 1}).fit(x, y)
    assert not np.array_equal(other.predict_proba(x), first)


def test_numbers_in_32_bits_are_learned_from_as_they_are():
    x, y, truth = blobs(dims=40)
    wide = SelfTrainingEstimator(random_state=0).fit(x, y)
    model = SelfTrainingEstimator(random_state=0).fit(x.astype(np.float32), y)
    assert np.allclose(model.predict_proba(x), wide.predict_proba(x), atol=1e-4)
    assert np.allclose(model.predict_proba(x[:1]), model.predict_proba(x)[:1], atol=1e-12)
    assert (model.predict(x.astype(np.float32)) == truth).mean() > 0.8


def test_linear_models_see_the_components_of_each_view():
    x = blobs(n=4000, dims=300)[0].astype(np.float32)
    columns = ColumnScaling.fit(x, {"a": 100, "b": 200}, True, 10, "cpu")
    kept = columns.values(x, torch.float64, "cpu")
    for name, part in (("a", x[:, :100]), ("b", x[:, 100:])):
        scaled = ((part - part.mean(0)) / part.std(0)).clip(-5, 5)
        i = list(kept).index(name)
        center, basis = (columns.axes[f"views.{i}.{p}"][0].numpy() for p in ("center", "basis"))
        assert np.allclose(kept[name].numpy(), (scaled - center) @ basis, atol=1e-3)
        assert kept[name].shape == (4000, 10)


def test_text_labels_stand_beside_minus_one_in_an_object_array():
    x, y, truth = blobs()
    names = np.array(["calm", "glad", "sad"], dtype=object)
    words = names[truth]
    words[y == -1] = -1
    model = SelfTrainingEstimator(**SMALL).fit(x, words)
    assert list(model.classes_) == ["calm", "glad", "sad"]
    assert set(model.transduction_[y == -1].tolist()) <= {"calm", "glad", "sad", -1}
    assert (model.predict(x) == names[truth]).mean() > 0.8


def test_it_works_in_pipelines_searches_and_copies():
    x, y, _ = blobs(45)
    pipeline = make_pipeline(StandardScaler(), SelfTrainingEstimator(**QUICK, max_rounds=1))
    assert pipeline.fit(x, y).predict(x).shape == (45,)
    grid = {"rule": ["class_topk", "margin"], "coverage": [(0.3,), (0.6,)]}
    search = GridSearchCV(
        SelfTrainingEstimator(**QUICK, max_rounds=1), grid, cv=2, scoring="accuracy"
    )
    search.fit(x, np.arange(45) % 3)
    assert search.best_params_["rule"] in grid["rule"]
    copy = clone(SelfTrainingEstimator(rule="dash", views={"a": 2, "b": 4}))
    assert copy.get_params()["views"] == {"a": 2, "b": 4} and copy.rule == "dash"


def test_views_are_modalities_and_must_add_up():
    x, y, _ = blobs()
    model = SelfTrainingEstimator(**QUICK, views={"speech": 2, "text": 4}, rule="agreement")
    assert model.fit(x, y).predict(x).shape == (90,)
    with pytest.raises(ValueError, match=r"views must be widths that add up to the 6 columns of X"):
        SelfTrainingEstimator(**QUICK, views={"speech": 2, "text": 5}).fit(x, y)
    for wrong in ({"speech": range(2), "text": range(2, 6)}, {"speech": 2.5, "text": 3.5}, {}):
        with pytest.raises(ValueError, match="views must be widths that add up"):
            SelfTrainingEstimator(**QUICK, views=wrong).fit(x, y)
    with pytest.raises(ValueError, match="views must be a dict of name: number of columns"):
        SelfTrainingEstimator(**QUICK, views=[2, 4]).fit(x, y)


def test_more_folds_than_rows_are_as_many_folds_as_rows():
    x, y, _ = blobs(30)
    y[4:] = -1  # 2, 1 and 1 rows of three classes
    model = SelfTrainingEstimator(**{**QUICK, "folds": 10}, max_rounds=1).fit(x, y)
    assert model.predict_proba(x).shape == (30, 3)


def test_groups_are_never_on_two_sides_of_a_fold(monkeypatch):
    import semi.estimator as home

    seen = []
    real = home.run_rounds
    monkeypatch.setattr(home, "run_rounds", lambda p, c: (seen.append(p), real(p, c))[1])
    x, y, _ = blobs()
    speaker = np.array([f"s{i // 9}" for i in range(90)])
    SelfTrainingEstimator(**QUICK, max_rounds=0).fit(x, y, groups=speaker)
    dataset = seen[0]
    gold = dataset.gold.numpy()
    assert len(gold) == 27
    folds = {s: set(dataset.fold.numpy()[speaker[gold] == s]) for s in set(speaker[gold])}
    assert all(len(f) == 1 for f in folds.values()) and len(folds) == 3
    with pytest.raises(ValueError, match=r"groups must have one entry for each of the 90 rows"):
        SelfTrainingEstimator(**QUICK).fit(x, y, groups=speaker[:5])


def test_what_cannot_be_learned_is_said():
    x, y, _ = blobs()
    with pytest.raises(ValueError, match="y has no labelled row: every entry is -1"):
        SelfTrainingEstimator(**QUICK).fit(x, np.full(90, -1))
    alone = np.array(["calm"] * 90, dtype=object)
    alone[5:] = -1
    with pytest.raises(ValueError, match="two classes or more, y has 1 class: calm"):
        SelfTrainingEstimator(**QUICK).fit(x, alone)
    with pytest.raises(ValueError, match=r"rule must be one of .* did you mean 'flexmatch'"):
        SelfTrainingEstimator(**QUICK, rule="flexmach").fit(x, y)
    with pytest.raises(ValueError, match="NaN"):
        SelfTrainingEstimator(**QUICK).fit(np.where(x > 3, np.nan, x), y)


def test_minus_one_and_plus_one_are_two_classes():
    x, _, truth = blobs()
    model = SelfTrainingEstimator(**QUICK).fit(x, np.where(truth == 0, -1, 1))
    assert list(model.classes_) == [-1, 1]


def test_two_columns_are_enough():
    x, _, truth = blobs(120, dims=2, seed=3)
    model = SelfTrainingEstimator(**{**SMALL, "steps": 60}, max_rounds=0).fit(x, truth)
    from sklearn.linear_model import LogisticRegression

    linear = LogisticRegression().fit(x, truth).score(x, truth)
    assert (model.predict(x) == truth).mean() > linear - 0.08


def test_rows_without_a_label_are_left_out_of_the_score(fitted):
    model, x, y, truth = fitted
    right = model.predict(x) == truth
    known = y != -1
    assert model.score(x, y) == pytest.approx(right[known].mean())
    assert model.score(torch.from_numpy(x), torch.from_numpy(y)) == model.score(x, y)
    weight = np.arange(1.0, len(y) + 1)
    want = np.average(right[known], weights=weight[known])
    assert model.score(x, y, sample_weight=weight) == pytest.approx(want)
    with pytest.raises(ValueError, match="no labelled row to score: every entry is -1"):
        model.score(x, np.full(len(y), -1))
    search = GridSearchCV(SelfTrainingEstimator(**QUICK), {"max_rounds": [0]}, cv=3).fit(x, y)
    assert search.best_score_ > 0.8  # 70 % of the rows have no label and counted as wrong


def test_minus_one_that_was_learned_as_a_class_is_scored():
    x, _, truth = blobs()
    y = np.where(truth == 0, -1, 1)
    model = SelfTrainingEstimator(**QUICK).fit(x, y)
    assert model.score(x, y) == pytest.approx((model.predict(x) == y).mean())


def test_words_beside_minus_one_are_scored():
    x, y, _ = blobs()
    words = np.array([f"c{v}" if v >= 0 else -1 for v in y], dtype=object)
    model = SelfTrainingEstimator(**QUICK).fit(x, words)
    known = y != -1
    assert model.score(x, words) == pytest.approx((model.predict(x) == words)[known].mean())
