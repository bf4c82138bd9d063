"""Ridge regression of valence and arousal, and regressions of each label, held against others."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from tiny_dataset import tiny_config, tiny_dataset

from models.fusion import FusionConfig
from semi.config.task import TaskConfig
from semi.config.training import RoundsConfig, TrainConfig
from semi.evaluation.metrics import affect_scores
from semi.self_training.rounds import trained
from semi.self_training.targets import targets_of
from semi.training.affect_scale import RANGE
from semi.training.students import STUDENTS, learned_start
from semi.training.students.ridge import PENALTIES, WIDEST, ridge
from semi.training.students.several_labels import label_by_label

PARTS = 5


def numbers(rows=60, dims=12, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, dims, generator=g) + 3.0
    y = x[:, :2] @ torch.tensor([[1.0, 0.3], [0.2, -1.0]]) + torch.randn(rows, 2, generator=g)
    return x, y, torch.arange(rows) % PARTS


def with_affect(dataset, unknown=13):
    value = torch.stack([dataset.label + 1.0, 5 - 0.8 * dataset.label], 1)
    value = value + 0.3 * torch.randn(value.shape, generator=torch.Generator().manual_seed(1))
    value[::unknown] = torch.nan
    return replace(dataset, affect=value)


def of_task(kind, model="ridge", **changed):
    config = tiny_config(model=FusionConfig(kind=model, components=8))
    config.task, config.train = TaskConfig(kind), TrainConfig(members=1, folds=3, imbalance="none")
    config.rounds = RoundsConfig(metric="ccc" if kind == "affect" else "macro_f1")
    return replace(config, **changed)


def begun(dataset, config):
    return trained(dataset, config, learned_start(dataset, config), 0, None)


# --- one regression ---


@pytest.mark.parametrize("rows", [60, 9])  # more rows than columns, and fewer
@pytest.mark.parametrize("penalty", [0.1, 10.0, 3000.0])
def test_it_is_scikit_learns_ridge_on_the_same_vectors(rows, penalty):
    x, y, part = numbers(rows)
    weight = torch.linspace(0.5, 2.0, rows)
    theirs = Ridge(alpha=penalty).fit(x, y, sample_weight=weight)
    map_, bias = ridge(x, y, weight, part, False, (penalty,))
    np.testing.assert_allclose(map_.T.numpy(), theirs.coef_, atol=1e-4)
    np.testing.assert_allclose(bias.numpy(), theirs.intercept_, atol=1e-4)


def refitted(x, y, weight, part, penalty):
    """Answers to each row of a model that never saw its part, fitted anew for each part."""
    answers = np.empty_like(y)
    for p in np.unique(part):
        out = part == p
        model = Ridge(alpha=penalty).fit(x[~out], y[~out], sample_weight=weight[~out])
        answers[out] = model.predict(x[out])
    return answers


@pytest.mark.parametrize("rows", [400, 60, 15])  # parts of more rows than columns, and of fewer
def test_strength_and_spread_are_those_of_refits_without_each_part(rows):
    x, y, part = numbers(rows, seed=1)
    weight = torch.ones(rows)
    arrays = [t.double().numpy() for t in (x, y, weight)]
    out = {p: refitted(arrays[0], arrays[1], arrays[2], part.numpy(), p) for p in PENALTIES}
    for t in range(2):
        best = min(PENALTIES, key=lambda p: np.square(out[p][:, t] - arrays[1][:, t]).sum())
        plain = Ridge(alpha=best).fit(arrays[0], arrays[1][:, t])
        map_, bias = ridge(x, y[:, t : t + 1], weight, part, False)
        np.testing.assert_allclose(map_[:, 0].numpy(), plain.coef_, atol=1e-4)
        best = max(PENALTIES, key=lambda p: np.corrcoef(out[p][:, t], arrays[1][:, t])[0, 1])
        factor = np.clip(arrays[1][:, t].std() / out[best][:, t].std(), 1, WIDEST)
        plain = Ridge(alpha=best).fit(arrays[0], arrays[1][:, t])
        map_, bias = ridge(x, y[:, t : t + 1], weight, part, True)
        np.testing.assert_allclose(map_[:, 0].numpy(), factor * plain.coef_, atol=1e-4)
        mean = float(x.mean(0) @ map_[:, 0] + bias[0])
        assert mean == pytest.approx(float(y[:, t].mean()), abs=1e-4)


def test_wider_answers_agree_better_with_new_rows_and_plain_ones_err_less():
    x, y, part = numbers(40, dims=30, seed=2)
    new, truth, _ = numbers(2000, dims=30, seed=3)
    ccc, error = {}, {}
    for widen in (True, False):
        map_, bias = ridge(x, y, torch.ones(40), part, widen)
        answers = (new @ map_ + bias).numpy()
        ccc[widen] = affect_scores(answers[:, 1], truth[:, 1].numpy())["ccc"]
        error[widen] = float(np.square(answers - truth.numpy()).mean())
    assert ccc[True] > ccc[False] and error[True] > error[False]


@pytest.mark.parametrize("widen", [True, False])
def test_nothing_to_learn_is_the_mean(widen):
    x, y, part = numbers(20)
    same, none = torch.full_like(y, 2.5), torch.zeros(20)
    map_, bias = ridge(x, same, torch.ones(20), part, widen)
    assert torch.allclose(x @ map_ + bias, same, atol=1e-4)
    map_, bias = ridge(x, y, none, part, widen)  # of a chain that holds every known row out
    assert not map_.any() and not bias.any()
    one = torch.zeros(20)
    one[4] = 1.0
    map_, bias = ridge(x, y, one, part, widen)
    assert torch.allclose(bias, y[4], atol=1e-5) and not map_.any()
    map_, bias = ridge(torch.zeros_like(x), y, torch.ones(20), part, widen)
    assert torch.allclose(bias, y.mean(0), atol=1e-4)
    assert torch.isfinite(ridge(x, y, torch.ones(20), torch.zeros(20).long(), widen)[0]).all()


# --- in a model ---


def test_a_chain_never_learns_from_values_that_it_holds_out():
    dataset = with_affect(tiny_dataset(spread=2.0))
    assert dataset.affect is not None
    other = replace(dataset, affect=dataset.affect.clone())
    held = dataset.gold[dataset.fold == 0]
    assert other.affect is not None
    other.affect[held] = 9.0
    one, two = (begun(d, of_task("affect")).ensemble for d in (dataset, other))
    assert one is not None and two is not None
    names = [n for n in one.params if "affect" in n]
    assert "views.0.affect" in names and "affect_prior" in names
    for name in names:
        assert torch.equal(one.params[name][0], two.params[name][0]), name
    assert not torch.equal(one.params["views.0.affect"][1], two.params["views.0.affect"][1])


def test_unknown_values_play_no_part_and_either_may_be_unknown_alone():
    dataset = with_affect(tiny_dataset(spread=2.0))
    assert dataset.affect is not None
    value = dataset.affect.clone()
    value[dataset.gold[::2], 1] = torch.nan
    config = of_task("affect")
    half = begun(replace(dataset, affect=value), config).ensemble
    whole = begun(dataset, config).ensemble
    assert half is not None and whole is not None
    maps = [e.params["views.1.affect"] for e in (half, whole)]
    assert torch.allclose(maps[0][..., 0], maps[1][..., 0], atol=1e-4)
    assert not torch.allclose(maps[0][..., 1], maps[1][..., 1], atol=1e-2)
    nothing = replace(dataset, affect=value.index_fill(1, torch.tensor([1]), torch.nan))
    valence = begun(nothing, config)  # a corpus of one dimension
    assert valence.ensemble is not None and valence.outputs.affect is not None
    assert torch.allclose(valence.ensemble.params["views.1.affect"][..., 0], maps[1][..., 0])
    assert not valence.ensemble.params["views.1.affect"][..., 1].any()
    assert np.isfinite(valence.metric)


@pytest.mark.parametrize("quiet", [[], ["text"]])
def test_a_missing_view_adds_nothing_and_a_quiet_one_speaks_where_alone(quiet):
    dataset = with_affect(tiny_dataset(spread=2.0))
    config = of_task("affect", model="ridge")
    config.model.quiet = quiet
    ensemble = begun(dataset, config).ensemble
    assert ensemble is not None
    here = torch.tensor([[True, True], [True, False], [False, True]])
    values = {m: v[[0, 0, 0]].clone() for m, v in dataset.values.items()}
    answers = ensemble.predict_logits(values, here).affect
    values["text"][1] = torch.nan  # what stands in for a missing value may be anything
    again = ensemble.predict_logits(values, here).affect
    assert answers is not None and again is not None and torch.equal(answers, again)
    assert torch.equal(answers[:, 0], answers[:, 1]) is bool(quiet)
    assert not torch.allclose(answers[:, 2], answers[:, 1])
    low, high = ensemble.params[RANGE][:, 0], ensemble.params[RANGE][:, 1]
    assert (answers >= low[:, None]).all() and (answers <= high[:, None]).all()


def test_each_label_is_a_regression_of_its_own():
    dataset = tiny_dataset(spread=0.7, views=1)
    several = torch.nn.functional.one_hot(dataset.label, 3).float()
    several[::3] = (several[::3] + several[::3].roll(1, 1)).clamp(max=1)
    dataset = replace(dataset, target=several, multi=several)
    config = of_task("multi_label", "logistic")
    learned = learned_start(dataset, config)
    seen = STUDENTS["logistic"].view(dataset, learned)
    ensemble = STUDENTS["logistic"].fit(seen, targets_of(seen, None, None), config, learned)
    logits = ensemble.predict_logits(seen.values, seen.present).fused[-1]
    x = seen.values["speech"][seen.gold].numpy()
    for c in range(3):  # scores of no and yes share the weight: each has half of it
        theirs = LogisticRegression(C=2 / config.model.penalty, tol=1e-8, max_iter=1000)
        theirs.fit(x, several[seen.gold, c])
        expected = theirs.decision_function(x)
        np.testing.assert_allclose(logits[seen.gold, c].numpy(), expected, atol=2e-3)


def test_labels_are_solved_one_by_one_and_alike():
    seen = []

    def solve(given):
        seen.append(given.target)
        return {"prior": given.target.sum(1)}

    from semi.training.students.closed_form import LinearTargets

    target = torch.tensor([[[1.0, 0.0], [1.0, 1.0], [0.0, 0.25]]])
    given = LinearTargets([], torch.ones(3, 1), target, torch.ones(1, 3), target[0],
                          torch.zeros(3), None, FusionConfig(), TrainConfig(), [])  # fmt: skip
    solved = label_by_label(solve)(given)
    assert solved["prior"].tolist() == [[1.0, -0.5]]  # yes less no: 2 - 1, 1.25 - 1.75
    assert all(torch.allclose(t.sum(-1), torch.ones(1, 3)) for t in seen)
