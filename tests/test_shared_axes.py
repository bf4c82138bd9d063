"""Axes stretched along what modalities share: the formula, its limits, and gold's choice of it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from tiny_dataset import tiny_dataset

from models.fusion import ContrastConfig, FusionConfig
from semi.config.learning import LearningConfig
from semi.config.recipes import resolved
from semi.self_training.axes_selection import LEAST_GAIN, STRETCH, select_axes
from semi.self_training.floor import standing
from semi.self_training.model_selection import linear_trial
from semi.self_training.record import shipped_prediction
from semi.self_training.rounds import run_rounds
from semi.self_training.view_selection import select_views
from semi.training.projection import principal_start
from semi.training.shared_axes import NOISE, shared_axes


def auto(dataset, **sections):
    config = LearningConfig(recipe="auto", **sections)
    config = resolved(config, len(dataset.gold), len(dataset.pool))[0]
    return replace(config, rounds=replace(config.rounds, floor=False))


def talk(rows=300, missing=0.0, seed=0):
    """Two views of one hidden number a row, small in either beside what each has for itself."""
    generator = torch.Generator().manual_seed(seed)
    common = torch.randn(rows, 1, generator=generator)
    values = {}
    for name, width in (("speech", 6), ("text", 5)):
        x = torch.randn(rows, width, generator=generator)
        x[:, :2] *= 1.5
        x[:, 2:3] = common + 0.1 * x[:, 2:3]
        values[name] = x
    present = torch.rand(rows, 2, generator=generator) >= missing
    return values, present, torch.arange(rows)


def turned(given, by, components=5):
    values, present, rows = given
    principal = principal_start(values, present, rows, components)
    return principal, shared_axes(values, present, rows, principal, by)


def on(axes, values, present, view):
    """Rows that have the view, on its axes, in float64."""
    x = list(values.values())[view][present[:, view]].double()
    center, basis = (axes[f"views.{view}.{part}"][0].double() for part in ("center", "basis"))
    return ((x - center) @ basis).numpy()


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_the_axes_are_those_of_the_formula(missing):
    values, present, rows = talk(missing=missing)
    principal, axes = turned((values, present, rows), 2.5)
    z = [np.zeros((len(rows), 5)), np.zeros((len(rows), 5))]
    for view in (0, 1):
        z[view][present[:, view].numpy()] = on(principal, values, present, view)
    both = present.all(1).numpy()
    half = []
    for view in (0, 1):
        square = z[view].T @ z[view] / int(present[:, view].sum())
        half.append(np.linalg.inv(sqrtm(square + NOISE * np.mean(np.diag(square)) * np.eye(5))))
    common = half[0] @ z[0][both].T @ z[1][both] @ half[1] / (both.sum() + 5)
    for view, k in ((0, common), (1, common.T)):
        want = z[view][present[:, view].numpy()] @ (np.eye(5) + 2.5 * k @ k.T)
        want /= np.sqrt((want**2).mean())
        np.testing.assert_allclose(on(axes, values, present, view), want, atol=2e-5)


def test_what_both_views_tell_becomes_longer_beside_the_rest():
    values, present, rows = talk()
    principal, axes = turned((values, present, rows), 10.0, components=6)
    third = torch.eye(6)[2]  # the column that both views share
    for name, more in (("principal", principal), ("stretched", axes)):
        reach = (third @ more["views.0.basis"][0]).norm() / more["views.0.basis"][0].norm()
        assert (reach > 0.6) == (name == "stretched"), (name, reach)


def test_without_a_pair_a_stretch_or_a_row_the_axes_stay():
    values, present, rows = talk()
    apart = torch.stack([rows % 2 == 0, rows % 2 == 1], 1)
    for given, by in (((values, present, rows), 0.0), ((values, apart, rows), 9.0)):
        principal, axes = turned(given, by)
        for name, value in principal.items():
            torch.testing.assert_close(axes[name], value, rtol=1e-4, atol=1e-5)
    nowhere = turned((values, present & torch.tensor([True, False]), rows), 9.0)[1]
    assert all(value.isfinite().all() for value in nowhere.values())
    dirty = {m: torch.where(apart[:, i, None], v, torch.nan)
             for i, (m, v) in enumerate(values.items())}  # fmt: skip
    assert all(v.isfinite().all() for v in turned((dirty, apart, rows), 9.0)[1].values())


@pytest.mark.parametrize("kind", ["discriminant", "logistic", "contrastive_residual"])
def test_a_model_on_such_axes_answers_whole_rows(kind):
    data = tiny_dataset(spread=1.5)
    model, contrast = FusionConfig(kind=kind), ContrastConfig(axes=STRETCH)
    final = run_rounds(data, auto(data, model=model, contrast=contrast)).final
    answer = shipped_prediction(data, final, data.test)
    assert answer is not None
    right = answer.probs.argmax(1) == data.label[data.test]
    assert right.float().mean() > 0.8
    one = shipped_prediction(data, final, data.test[3:4])
    assert one is not None
    torch.testing.assert_close(one.probs[0], answer.probs[3])


def test_gold_decides_and_the_run_says_so():
    data = tiny_dataset(spread=0.8)
    config = auto(data)
    worth = []
    for by in (0.0, STRETCH):
        tried = replace(linear_trial(config), contrast=ContrastConfig(axes=by))
        worth.append(standing(data, run_rounds(data, tried).final))
    for plain in (worth[1] - LEAST_GAIN - 0.01, worth[1] - LEAST_GAIN + 0.01):
        found, sentence = select_axes(data, config, run_rounds, plain)
        better = worth[1] - plain > LEAST_GAIN
        assert found.contrast.axes == (STRETCH if better else 0)
        assert ("stretched they are" in sentence) == better
        assert ("principal axes it is" in sentence) != better
    found = select_views(data, config)
    assert found.sentence.endswith("they are") == (found.config.contrast.axes == STRETCH)


def test_gold_is_not_asked_where_there_is_no_pair_or_the_user_said():
    def never(dataset, config):
        raise AssertionError("no round is run")

    one = tiny_dataset(views=1)
    assert select_axes(one, auto(one), never, 0.5) == (auto(one), "")
    two = tiny_dataset()
    for config in (
        auto(two, contrast=ContrastConfig(axes=1.0)),
        auto(two, given=["contrast.axes"]),
    ):
        assert select_axes(two, config, never, 0.5) == (config, "")


def test_a_stretch_below_nothing_is_refused():
    with pytest.raises(ValueError, match=r"axes must be >= 0, got -1"):
        ContrastConfig(axes=-1)
