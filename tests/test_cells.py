"""Held-out parts, ablations and searches come out the same wherever their cells are run."""

import json
from pathlib import Path

import pytest
from two_runs import settings, write_manifest

from semi.config.yaml_format import to_yaml
from semi.experiments.ablation import ablate
from semi.experiments.cross_validation import all_folds
from semi.experiments.search.search import search
from semi.self_training.run_dir import Run

ELSEWHERE = [
    ["processes=2"],
    pytest.param(["engine=ray", "processes=2"], marks=pytest.mark.extras("ray")),
]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipe")
    write_manifest(folder)
    (folder / "r.yaml").write_text(to_yaml(settings(folder, "r", "model.kind=concat")))
    return str(folder / "r.yaml")


def ledgers(folder):
    found = {path.parent.name: path.read_bytes() for path in Path(folder).glob("*/ledger.*")}
    assert found
    return found


@pytest.mark.parametrize("more", ELSEWHERE)
def test_held_out_parts_are_the_same_wherever_they_are_trained(recipe, tmp_path, capsys, more):
    here = all_folds(recipe, ["data.test_folds=3", f"runs_dir={tmp_path}/here"], progress=False)
    words = ["data.test_folds=3", f"runs_dir={tmp_path}/there", *more]
    there = all_folds(recipe, words)
    assert there.pooled.metrics == here.pooled.metrics
    assert ledgers(tmp_path / "there") == ledgers(tmp_path / "here")
    lines = [line for line in capsys.readouterr().err.splitlines() if "to go" in line]
    assert [line.partition(" ")[0] for line in lines] == ["1/3", "2/3", "3/3"]


@pytest.mark.parametrize("more", ELSEWHERE)
def test_an_ablation_is_the_same_wherever_it_is_trained(recipe, tmp_path, more):
    vary = ["train.steps=3,5", "rounds.max_rounds=0"]
    here = ablate(recipe, [f"runs_dir={tmp_path}/here"], vary, progress=False)
    there = ablate(recipe, [f"runs_dir={tmp_path}/there", *more], vary, progress=False)
    assert ledgers(tmp_path / "there") == ledgers(tmp_path / "here")
    assert len(ledgers(tmp_path / "there")) == 4
    assert len(there.rows) == len(here.rows) == 4


@pytest.mark.extras("optuna")
@pytest.mark.parametrize("more", ELSEWHERE)
def test_a_search_is_the_same_wherever_its_trials_are_trained(recipe, tmp_path, more):
    (tmp_path / "space.yaml").write_text("model.hidden: [4, 8]\nmodel.kind: [concat, gated]\n")
    words = ["train.steps=3"]
    common = {"trials": 5, "batch": 2, "progress": False}
    here = search(recipe, tmp_path / "space.yaml", [*words, f"runs_dir={tmp_path}/here"], **common)
    words = [*words, f"runs_dir={tmp_path}/there", *more]
    there = search(recipe, tmp_path / "space.yaml", words, **common)
    assert [(t["words"], t["value"], t["predicted"]) for t in there.trials] == [
        (t["words"], t["value"], t["predicted"]) for t in here.trials
    ]
    assert there.best == here.best and there.test == here.test


def test_a_run_opens_without_the_engine_that_it_was_trained_on(recipe, tmp_path):
    all_folds(recipe, ["data.test_folds=2", f"runs_dir={tmp_path}", "processes=2"], progress=False)
    path = tmp_path / "r-fold1"
    text = (path / "config.yaml").read_text()
    assert "engine: local" in text
    (path / "checksums.json").unlink()
    (path / "config.yaml").write_text(text.replace("engine: local", "engine: ray"))
    assert Run.open(path).config.alone
    assert json.loads((path / "result.json").read_text())
