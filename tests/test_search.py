"""The search: gold out-of-fold rows only, resumable, honest about the best of many."""

import json
from pathlib import Path

import numpy as np
import pytest
from two_runs import runs  # noqa: F401

from semi.config import Config
from semi.errors import ConfigError, RunError
from semi.search import search
from semi.search_gain import corrected_gain
from semi.search_space import read_space
from semi.yaml_text import all_keys

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
    for words in ("5 problem(s)", "seed: cannot be searched", "train.folds: cannot be searched",
                  "did you mean 'model.hidden'", "give [choices] or {low, high, log}",
                  "at least two choices"):  # fmt: skip
        assert words in str(told.value)


def test_an_interrupted_search_ends_as_an_uninterrupted_one(runs, tmp_path):  # noqa: F811
    pytest.importorskip("optuna")
    recipe, space = f"{runs[1]}/config.yaml", space_of(tmp_path, SPACE)
    common = {"progress": False}
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


def test_a_trial_that_cannot_be_trained_is_passed_over(runs, tmp_path):  # noqa: F811
    pytest.importorskip("optuna")
    space = space_of(tmp_path, "model.heads: [3, 5]\n")
    words = ["train.steps=2", f"runs_dir={tmp_path}", "name=odd", "model.kind=misa"]
    found = search(f"{runs[1]}/config.yaml", space, words, trials=2, progress=False)
    assert found.best == 0
    assert found.trials[1]["value"] is None and "heads must divide" in found.trials[1]["why"]
    assert Path(found.folder, "search.json").is_file()
