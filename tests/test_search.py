"""The search: gold out-of-fold rows only, resumable, honest about the best of many."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_dataset import tiny_dataset

from semi.config.schema import Config, load_config
from semi.config.yaml_format import all_keys
from semi.errors import ConfigError, RunError
from semi.experiments.search.batched_trials import together, warm_starts
from semi.experiments.search.search import search
from semi.experiments.search.selection_bias import corrected_gain
from semi.experiments.search.space import read_space, refuse_idle

SPACE = """
train.lr: {low: 1e-3, high: 3e-2, log: true}
model.hidden: [4, 8]
model.kind: [concat, gated]
"""


def space_of(tmp_path, text):
    (tmp_path / "space.yaml").write_text(text)
    return tmp_path / "space.yaml"


def test_what_may_vary_is_checked_before_anything_is_trained(tmp_path):
    found = read_space(space_of(tmp_path, SPACE), all_keys(Config))
    assert [p.key for p in found] == ["train.lr", "model.hidden", "model.kind"]
    assert (found[0].low, found[0].high, found[0].log) == (1e-3, 3e-2, True)
    bad = "seed: [0, 1]\ntrain.folds: [2, 3]\nmodel.hiden: [4, 8]\ntrain.lr: 3\ntrain.steps: [1]\n"
    with pytest.raises(ConfigError) as told:
        read_space(space_of(tmp_path, bad), all_keys(Config))
    for words in ("5 problems in", "seed: cannot be searched", "train.folds: cannot be searched",
                  "did you mean 'model.hidden'", "give [choices] or {low, high, log}",
                  "at least two choices"):  # fmt: skip
        assert words in str(told.value)


@pytest.mark.extras("optuna")
def test_an_interrupted_search_ends_as_an_uninterrupted_one(runs, tmp_path):
    recipe, space = f"{runs[1]}/config.yaml", space_of(tmp_path, SPACE)
    common = {"progress": False, "batch": 2}
    words = ["train.steps=3", f"runs_dir={tmp_path}"]
    whole = search(recipe, space, [*words, "name=whole"], trials=5, **common)
    search(recipe, space, [*words, "name=parts"], trials=2, **common)
    parts = search(recipe, space, [*words, "name=parts"], trials=5, **common)
    assert [(t["words"], t["value"]) for t in parts.trials] == [
        (t["words"], t["value"]) for t in whole.trials
    ]
    assert whole.trials[0]["words"] == []
    assert whole.test_looks == 1
    said = json.loads((tmp_path / "whole-search" / "search.json").read_text())
    assert list(said["test_by_trial"]) == [str(whole.best)]
    assert not any("test" in key for t in whole.trials for key in t)
    assert max(t["value"] for t in whole.trials) == whole.trials[whole.best]["value"]
    assert (tmp_path / "whole-search" / "best.yaml").is_file()
    assert "scored for the chosen trial only" in str(whole)
    with pytest.raises(RunError, match="a search with another recipe"):
        search(recipe, space, [*words, "name=whole", "train.batch=8"], trials=5, **common)


def test_the_best_of_pure_noise_gains_nothing_after_correction():
    rng = np.random.default_rng(0)
    label = np.arange(240) % 3
    group = [f"s{i % 20}" for i in range(240)]
    trials = [{"predicted": rng.integers(0, 3, 240).tolist()} for _ in range(30)]
    trials[0] |= {"label": label.tolist(), "group": group, "classes": ["a", "b", "c"]}
    naive = max((np.array(t["predicted"]) == label).mean() for t in trials)
    naive -= (np.array(trials[0]["predicted"]) == label).mean()
    gain = corrected_gain(trials, "accuracy", 0)
    assert naive > 0.05
    assert gain is not None and gain < naive / 2
    trials[7] = {"predicted": np.where(rng.random(240) < 0.9, label, 0).tolist()}
    real = corrected_gain(trials, "accuracy", 0)
    assert real is not None and real > 0.4
    few = [{**trials[0], "group": ["x"] * 240}, *trials[1:]]
    assert corrected_gain(few, "accuracy", 0) is None


@pytest.mark.extras("optuna")
def test_a_trial_that_cannot_be_trained_is_passed_over(runs, tmp_path):
    space = space_of(tmp_path, "model.heads: [3, 5]\n")
    words = ["train.steps=2", f"runs_dir={tmp_path}", "name=odd", "model.kind=misa"]
    found = search(f"{runs[1]}/config.yaml", space, words, trials=2, batch=1, progress=False)
    assert found.best == 0
    assert found.trials[1]["value"] is None and "heads must divide" in found.trials[1]["why"]
    assert Path(found.folder, "search.json").is_file()


@pytest.mark.parametrize(
    ("kind", "space", "told"),
    [
        ("discriminant", "train.lr: [1e-3, 1e-2]", "train.lr plays no part in model.kind=discrim"),
        ("logistic", "noise.impulse: [0, 0.1]\ntrain.steps: [9, 99]", "impulse, train.steps play"),
        ("logistic", "model.shrinkage: [0.1, 0.2]", "search model.components, model.penalty, "),
        ("concat", "model.kind: [discriminant, logistic]\nmodel.hidden: [4, 8]", "or logistic"),
        ("discriminant", "model.shrinkage: [0.1, 0.2]\nfeatures.pca: [4, 8]", ""),
        ("discriminant", "model.kind: [discriminant, concat]\ntrain.lr: [1e-3, 1e-2]", ""),
        ("concat", "train.lr: [1e-3, 1e-2]", ""),
    ],
)
def test_what_no_trial_reads_is_not_searched(tmp_path, kind, space, told):
    parameters = read_space(space_of(tmp_path, space), all_keys(Config))
    if told:
        with pytest.raises(ConfigError, match=told):
            refuse_idle(parameters, kind, "space.yaml")
    else:
        refuse_idle(parameters, kind, "space.yaml")


def test_a_search_over_the_rate_of_a_model_without_steps_is_refused_at_once(tmp_path):
    words = ["data.manifest=m.csv", "model.kind=discriminant", f"runs_dir={tmp_path}"]
    with pytest.raises(ConfigError, match=r"plays no part in .*, which is solved"):
        search(None, space_of(tmp_path, "train.lr: [1e-3, 1e-2]\n"), words, progress=False)


def test_trials_that_differ_in_rates_alone_are_trained_at_once_and_come_out_the_same():
    """Dropout included: a trial draws the same alone and beside others."""
    dataset = tiny_dataset(spread=2.0)
    configs = [load_config(None, [
        "data.manifest=m.csv", *rates.split(), "train.members=2", "train.folds=3",
        "train.steps=12", "train.batch=16", "model.hidden=8", "model.dropout=0.3",
        "model.kind=gated", "contrast.pretrain_steps=0",
    ]) for rates in (
        "train.lr=1e-3", "train.lr=2e-2", "train.lr=5e-3 train.warmup=0.5",
        "train.lr=2e-2 train.weight_decay=2", "train.lr=2e-2 train.label_smoothing=0.5",
    )]  # fmt: skip
    assert together(configs) == [[0, 1, 2, 3, 4]]
    at_once = warm_starts(dataset, configs)
    for config, state in zip(configs, at_once, strict=True):
        (alone,) = warm_starts(dataset, [config])
        torch.testing.assert_close(state.outputs.oof, alone.outputs.oof, atol=1e-4, rtol=0)
        assert state.metric == pytest.approx(alone.metric)
        for name, value in alone.ensemble.params.items():
            torch.testing.assert_close(state.ensemble.params[name], value, atol=1e-4, rtol=1e-3)
    moved = [s.ensemble.params["head.weight"] for s in at_once]
    for place, one in enumerate(moved):
        assert all(not torch.allclose(one, two, atol=1e-3) for two in moved[place + 1 :])
    other = copy.deepcopy(configs[0])
    other.model.dropout = 0.2
    closed = [copy.deepcopy(configs[0]) for _ in range(2)]
    for config in closed:
        config.model.kind = "discriminant"
    assert together([*configs, other, *closed]) == [[0, 1, 2, 3, 4], [5], [6], [7]]


@pytest.mark.extras("optuna")
def test_a_search_killed_within_a_batch_ends_as_an_uninterrupted_one(runs, tmp_path):
    recipe = f"{runs[1]}/config.yaml"
    space = space_of(tmp_path, "train.lr: {low: 1e-3, high: 3e-2, log: true}\n")
    words = ["train.steps=3", f"runs_dir={tmp_path}"]
    whole = search(recipe, space, [*words, "name=w"], trials=6, batch=4, progress=False)
    assert len(whole.trials) == 9  # the last batch is whole
    assert [t["together"] for t in whole.trials] == [1] + [4] * 8
    search(recipe, space, [*words, "name=c"], trials=6, batch=4, progress=False)
    for number in (3, 4, 5, 6, 7, 8):
        (tmp_path / "c-search" / f"trial-{number:04d}.json").unlink()
    again = search(recipe, space, [*words, "name=c"], trials=6, batch=4, progress=False)
    assert [(t["words"], t["value"]) for t in again.trials] == [
        (t["words"], t["value"]) for t in whole.trials
    ]
