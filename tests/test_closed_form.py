"""Linear models solved in one go: the published formulas, missing views, chains, rounds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from models.fusion import FusionConfig
from semi.config.learning import LearningConfig
from semi.config.recipes import resolved
from semi.config.schema import load_config, save
from semi.config.training import RoundsConfig, TrainConfig
from semi.self_training.rounds import run_rounds
from semi.training.dataset import Dataset
from semi.training.ensemble import Ensemble
from semi.training.projection import on_axes, principal_start
from semi.training.students import learned_start
from semi.training.students.closed_form import fit_linear
from semi.training.students.discriminant import discriminant, fit_discriminant
from semi.training.students.logistic import fit_logistic, logistic, solve_logistic
from semi.training.targets import TrainingTargets

SOLVERS = {"discriminant": fit_discriminant, "logistic": fit_logistic}


def solved(ensemble, targets, config, *, seed):
    """Returns the ensemble with the maps that the solver of its kind finds."""
    return fit_linear(ensemble, targets, config, SOLVERS[ensemble.config.kind], seed=seed)


def clusters(rows=400, dims=20, classes=4, seed=0, spread=6.0, apart=1.0):
    """Classes that differ along quiet axes, under loud variation that says nothing."""
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(rows) % classes
    mean = apart * torch.randn(classes, dims, generator=g)
    noise = torch.randn(rows, dims, generator=g) * torch.linspace(0.3, 1.0, dims)
    loud = torch.randn(rows, 4, generator=g) @ torch.randn(4, dims, generator=g) * spread
    return mean[y] + noise + loud, y


def hot(y, classes):
    return torch.nn.functional.one_hot(y, classes).float()


def said(view, solved, i=0, part="joint"):
    return (
        solved["prior"]
        + view @ solved[f"views.{i}.{part}"]
        + solved[f"views.{i}.{part}_bias"][:, None]
    )


@pytest.mark.parametrize("shrinkage", [0.1, 0.5])
def test_the_discriminant_is_fishers_where_targets_are_hard(shrinkage):
    x, y = clusters()
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(x, y)
    ours = discriminant(
        [x], torch.ones(len(x), 1), hot(y, 4)[None], torch.ones(1, len(x)), shrinkage, 0.0
    )
    probs = said(x, ours)[0].softmax(-1).numpy()
    # scikit-learn standardises before it shrinks, so only the ranking need agree that closely
    assert (probs.argmax(1) == theirs.predict(x)).mean() > 0.97


def test_without_shrinkage_the_discriminant_equals_scikit_learns():
    x, y = clusters()
    theirs = LinearDiscriminantAnalysis(solver="lsqr").fit(x.double(), y)
    ours = discriminant(
        [x], torch.ones(len(x), 1), hot(y, 4)[None], torch.ones(1, len(x)), 1e-6, 0.0
    )
    probs = said(x, ours)[0].softmax(-1).numpy()
    scale = len(x) / (len(x) + x.shape[1])
    log = scale * torch.from_numpy(theirs.decision_function(x.double()) - np.log(theirs.priors_))
    expected = (log + torch.from_numpy(np.log(theirs.priors_))).softmax(-1).numpy()
    assert np.abs(probs - expected).max() < 2e-3


def test_a_soft_target_counts_as_rows_of_each_class():
    x, y = clusters(60)
    target = 0.7 * hot(y, 4) + 0.3 * hot((y + 1) % 4, 4)
    once = discriminant([x], torch.ones(60, 1), target[None], torch.ones(1, 60), 0.1, 0.0)
    twice = torch.cat([x, x])
    hard = torch.cat([hot(y, 4), hot((y + 1) % 4, 4)])
    weight = torch.cat([torch.full((60,), 0.7), torch.full((60,), 0.3)])
    split = discriminant([twice], torch.ones(120, 1), hard[None], weight[None], 0.1, 0.0)
    for key, value in once.items():
        assert torch.allclose(value, split[key], atol=2e-3), key


def test_each_view_of_logistic_regression_has_a_map_of_its_own():
    x, y = clusters(300)
    views = [x[:, :12], x[:, 12:]]
    solved = logistic(views, torch.ones(300, 2), hot(y, 4)[None], torch.ones(1, 300), 1.0)
    alone = solve_logistic(views[1], hot(y, 4)[None], torch.ones(1, 300), 1.0)
    assert torch.allclose(
        said(views[1], solved, 1, "own"), views[1] @ alone[0] + alone[1][:, None], atol=1e-4
    )


def dataset_of(x, y, labelled, folds=3, classes=4, views=None):
    n = len(x)
    gold = torch.arange(labelled)
    target = torch.zeros(n, classes)
    target[gold] = hot(y[gold], classes)
    values = views or {"speech": x - x.mean(0)}
    return Dataset(
        ids=np.array([str(i) for i in range(n)]),
        values=values,
        present=torch.ones(n, len(values), dtype=torch.bool),
        target=target,
        label=y,
        gold=gold,
        pool=torch.arange(labelled, n - 100),
        dev=gold[:0],
        test=torch.arange(n - 100, n),
        fold=(gold // classes) % folds,
        group=np.array([str(i) for i in range(n)]),
        classes=[str(c) for c in range(classes)],
    )


def fitted(dataset, kind="discriminant", members=1, weight=None):
    config = FusionConfig(kind=kind, components=16)
    rows = torch.cat([dataset.gold, dataset.pool])
    learned = principal_start(dataset.values, dataset.present, rows, 16)
    dims, dataset = dataset.dims, on_axes(dataset, learned)
    ensemble = Ensemble.create(config, dataset.dims, 4, count=2 * members, seed=0)
    if weight is None:
        weight = torch.zeros(2, len(dataset.present))
        weight[0, dataset.gold[::2]] = 1
        weight[1, dataset.gold] = 1
    targets = TrainingTargets(
        dataset.values,
        dataset.present,
        dataset.target.expand(2, -1, -1),
        weight,
        dataset.gold,
        dataset.gold[:0],
    )
    done = solved(ensemble, targets, TrainConfig(members=members), seed=0)
    return done.from_axes(dims, learned)


@pytest.mark.parametrize("kind", ["discriminant", "logistic"])
def test_a_chain_never_learns_from_the_rows_it_holds_out(kind):
    x, y = clusters()
    one = fitted(dataset_of(x, y, 60), kind)
    other = y.clone()
    other[1:60:2] = (other[1:60:2] + 1) % 4  # labels that chain 0 does not see
    two = fitted(dataset_of(x, other, 60), kind)
    same = [torch.equal(one.params[k][0], two.params[k][0]) for k in one.params if "basis" not in k]
    if kind == "logistic":  # class balance and the solver's way down are of all chains together
        here = torch.ones(len(x), 1, dtype=torch.bool)
        logits = [model.predict_logits({"speech": x}, here).fused[0] for model in (one, two)]
        assert torch.allclose(logits[0].softmax(-1), logits[1].softmax(-1), atol=1e-3)
    else:
        assert all(same)
    assert not torch.equal(one.params["views.0.joint"][1], two.params["views.0.joint"][1])


@pytest.mark.parametrize("kind", ["discriminant", "logistic"])
def test_a_missing_view_adds_nothing_and_rows_do_not_meet(kind):
    x, y = clusters()
    dataset = dataset_of(x, y, 60, views={"speech": x[:, :12], "text": x[:, 12:]})
    model = fitted(dataset, kind)
    here = dataset.present[:8].clone()
    here[3, 1] = False
    values = {m: v[:8].clone() for m, v in dataset.values.items()}
    before = model.predict_logits(values, here).fused
    values["text"][3] = torch.nan  # what stands in for a missing value may be anything
    assert torch.equal(model.predict_logits(values, here).fused, before)
    one = {m: v[2:3] for m, v in values.items()}
    assert torch.allclose(model.predict_logits(one, here[2:3]).fused, before[:, 2:3], atol=1e-5)


def test_shared_axes_are_gone_through_once_and_say_what_each_member_says():
    x, y = clusters(700, dims=30)
    dataset = dataset_of(x, y, 60, views={"speech": x[:, :20] + 3.0, "text": x[:, 20:]})
    model = fitted(dataset, members=2)
    here = dataset.present.clone()
    here[5, 0] = False
    values = {m: v.clone() for m, v in dataset.values.items()}
    values["speech"][5] = torch.nan
    once = model.predict_logits(values, here)
    one = model.select([0, 0, 1, 2])
    one.params["views.0.basis"][0, 0, 0] += 1.0  # no longer shared: every member for itself
    each = one.predict_logits(values, here)
    for head, said in once.heads().items():
        assert torch.allclose(each.heads()[head][1:], said[:3], atol=1e-4), head
    assert not torch.allclose(each.fused[0], once.fused[0], atol=1e-4)
    kept = Ensemble.from_state(model.spec(), model.tensors())
    assert torch.equal(kept.predict_logits(values, here).fused, once.fused)
    assert kept.params["views.0.basis"].shape == (4, 20, 16)  # the file holds the full width


def test_rows_on_axes_need_no_full_width():
    x, y = clusters(dims=30)
    dataset = dataset_of(x, y, 60)
    rows = torch.cat([dataset.gold, dataset.pool])
    learned = principal_start(dataset.values, dataset.present, rows, 16)
    seen = on_axes(dataset, learned)
    center, basis = learned["views.0.center"][0], learned["views.0.basis"][0]
    expected = (dataset.values["speech"] - center) @ basis
    assert torch.allclose(seen.values["speech"], expected, atol=1e-4)
    model = fitted(dataset)
    narrow = model.on_axes().predict_logits(seen.values, seen.present).fused
    assert torch.allclose(
        narrow, model.predict_logits(dataset.values, dataset.present).fused, atol=1e-5
    )
    frames = torch.full((len(x), 3, 30), torch.nan)
    frames[:, 0], frames[:, 1] = dataset.values["speech"] - 1, dataset.values["speech"] + 1
    dataset.values = {"speech": frames}
    assert torch.allclose(on_axes(dataset, learned).values["speech"], expected, atol=1e-4)


def test_axes_of_wide_views_come_from_a_part_of_the_rows_in_whatever_order():
    g = torch.Generator().manual_seed(0)
    rank, rows, dims, keep = 300, 6000, 2100, 20
    power = 1 / (1 + torch.arange(rank)) ** 0.5  # a long tail: hard for a sketch
    axes = torch.linalg.qr(torch.randn(dims, rank, generator=g))[0]
    x = torch.randn(rows, rank, generator=g) * power @ axes.T
    dataset = dataset_of(x, torch.arange(rows) % 4, 60)
    config = LearningConfig(model=FusionConfig(kind="discriminant", components=keep))
    learned = learned_start(dataset, config)["views.0.basis"][0]
    unit = torch.nn.functional.normalize(learned, dim=0)
    assert torch.allclose(unit.T @ unit, torch.eye(keep), atol=1e-4)
    caught = (axes.T @ unit * power[:, None]).square().sum() / power[:keep].square().sum()
    assert 0.95 < caught < 1.001
    assert (x @ learned).square().mean() == pytest.approx(1.0, rel=0.05)

    order = torch.randperm(rows - 160, generator=g) + 60  # the pool in another order
    order = torch.cat([torch.arange(60), order, torch.arange(rows - 100, rows)])
    moved = dataset_of(x[order], dataset.label[order], 60)
    moved.ids = dataset.ids[order.numpy()]
    again = learned_start(moved, config)["views.0.basis"][0]
    assert torch.allclose(again, learned, atol=1e-3)
    moved.ids = dataset.ids  # other rows are read: the axes are others
    assert not torch.allclose(learned_start(moved, config)["views.0.basis"][0], learned, atol=1e-3)


@pytest.mark.parametrize("kind", ["discriminant", "logistic"])
def test_columns_far_from_zero_or_tiny_change_nothing(kind):
    x, y = clusters()
    plain = dataset_of(x, y, 60, views={"speech": x.double().float()})
    moved = dataset_of(x, y, 60, views={"speech": x + 40.0})
    small = dataset_of(x, y, 60, views={"speech": x * 1e-9})
    said = [
        fitted(p, kind).predict_logits(p.values, p.present).fused.argmax(-1)[1]
        for p in (plain, moved, small)
    ]
    assert (said[0] == said[1]).float().mean() > 0.98
    assert (said[0] == said[2]).float().mean() > 0.98


@pytest.mark.parametrize("kind", ["discriminant", "logistic"])
def test_a_class_without_a_row_is_never_named(kind):
    x, y = clusters()
    dataset = dataset_of(x, y, 60)
    keep = dataset.label[dataset.gold] != 3
    dataset.gold, dataset.fold = dataset.gold[keep], dataset.fold[keep]
    said = fitted(dataset, kind).predict_logits(dataset.values, dataset.present).fused
    assert not (said.argmax(-1) == 3).any()


def test_members_beyond_the_first_learn_from_a_bootstrap():
    x, y = clusters()
    model = fitted(dataset_of(x, y, 60), members=3)
    alone = fitted(dataset_of(x, y, 60), members=1)
    assert torch.allclose(model.params["views.0.joint"][3], alone.params["views.0.joint"][1])
    assert not torch.allclose(model.params["views.0.joint"][4], alone.params["views.0.joint"][1])


def test_rounds_learn_from_the_pool_what_few_labels_cannot_say():
    x, y = clusters(900, dims=40, seed=1, spread=1.0, apart=0.4)
    dataset = dataset_of(x, y, 40)
    config, told = resolved(LearningConfig(recipe="auto"), 40, 760)
    outcome = run_rounds(dataset, config)

    def right(state):
        logits = state.ensemble.predict_logits(
            {m: v[dataset.test] for m, v in dataset.values.items()}, dataset.present[dataset.test]
        )
        return float((logits.fused[-1].argmax(-1) == dataset.label[dataset.test]).float().mean())

    assert "discriminant" in told
    assert outcome.final.number > 0
    assert right(outcome.final) > right(outcome.states[0]) + 0.03


def test_the_recipe_keeps_what_the_user_set_and_says_so():
    config, told = resolved(LearningConfig(recipe="auto", rounds=RoundsConfig(max_rounds=2)), 9, 90)
    assert config.rounds.max_rounds == 2 and config.model.kind == "contrastive_residual"
    assert "kept as given: rounds.max_rounds=2" in told
    again, _ = resolved(config, 9, 90)
    assert again == config  # a saved configuration is read back as it is
    plain = LearningConfig(recipe="none")
    assert resolved(plain, 9, 90) == (plain, "")
    with pytest.raises(ValueError, match="recipe must be one of none, auto, got 'best'"):
        LearningConfig(recipe="best")


def test_a_given_word_is_kept_though_it_is_the_default(tmp_path):
    (tmp_path / "m.csv").write_text("id,text,label\na,hm,joy\n")
    words = [f"data.manifest={tmp_path}/m.csv"]
    kept = load_config(None, [*words, "select.rule=class_topk"])
    config, told = resolved(kept, 9, 90)
    assert config.select.rule == "class_topk" and "kept as given: select.rule=class_topk" in told
    assert resolved(load_config(None, words), 9, 90)[0].select.rule == "soft_allocation"
    save(load_config(None, words), tmp_path / "all.yaml")  # lists every default: none is meant
    config, told = resolved(load_config(tmp_path / "all.yaml"), 9, 90)
    assert config.select.rule == "soft_allocation" and "kept as given" not in told


def test_a_kind_that_the_user_names_has_steps_of_its_own(tmp_path):
    (tmp_path / "m.csv").write_text("id,text,label\na,hm,joy\n")
    for kind in ("concat", "contrastive"):
        words = [f"data.manifest={tmp_path}/m.csv", f"model.kind={kind}"]
        config, _ = resolved(load_config(None, words), 9, 90)
        assert (config.model.kind, config.train.steps, config.model.hidden) == (kind, 150, 128)
