"""Tables are the same after workers and drivers on Ray were killed at random moments."""

import json
from pathlib import Path

import pandas as pd
import pytest
from bench_arrays import write_features
from killed_commands import killed_at_random, started
from two_runs import settings, write_manifest

from semi.config.yaml_format import to_yaml

KILLS = 3
pytestmark = pytest.mark.extras("ray", "optuna")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipe")
    write_manifest(folder)
    config = settings(folder, "r", "model.kind=concat", "train.steps=150", "rounds.max_rounds=2")
    (folder / "r.yaml").write_text(to_yaml(config))
    (folder / "space.yaml").write_text("model.hidden: [4, 8, 16]\nmodel.kind: [concat, gated]\n")
    return folder


def both(words, folder):
    """Gives a command once in one process, once on Ray with kills; returns the two folders."""
    here, there = folder / "here", folder / "there"
    alone = started([word.format(here) for word in words])
    said = alone.communicate()[0]
    assert alone.returncode == 0, said
    killed = [word.format(there) for word in words]
    count = killed_at_random([*killed, "engine=ray", "processes=2"], KILLS)
    assert sum(count.values()) >= 1
    return here, there


def ledgers(folder):
    found = {path.parent.name: path.read_bytes() for path in Path(folder).glob("*/ledger.csv")}
    assert found
    return found


def test_folds(recipe, tmp_path):
    words = ["folds", f"{recipe}/r.yaml", "runs_dir={}", "data.test_folds=4"]
    here, there = both(words, tmp_path)
    assert ledgers(there) == ledgers(here) and len(ledgers(here)) == 4


def test_a_search(recipe, tmp_path):
    words = ["search", f"{recipe}/r.yaml", f"{recipe}/space.yaml", "runs_dir={}", "--trials", "7",
             "--batch", "3"]  # fmt: skip
    here, there = (folder / "r-search" for folder in both(words, tmp_path))

    def trials(folder):
        found = [json.loads(path.read_text()) for path in sorted(folder.glob("trial-*.json"))]
        return [(trial["words"], trial["value"], trial["predicted"]) for trial in found]

    assert trials(there) == trials(here) and len(trials(here)) == 7
    best, other = ((folder / "best.yaml").read_text() for folder in (here, there))
    assert other.replace(str(there.parent), str(here.parent)) == best


def test_a_benchmark(tmp_path):
    features = write_features(tmp_path / "toy.npz")
    words = ["benchmark", "output={}", f"datasets.toy.features={features}", "budgets=[12, 0.3]",
             "seeds=2", "draws=3", "outer_folds=2", "rules=[]", "recipe=auto",
             "model.kind=discriminant", "resamples=200"]  # fmt: skip
    here, there = both(words, tmp_path)

    def runs(folder):
        key = ["dataset", "budget", "seed", "draw", "fold", "arm"]
        table = pd.read_csv(folder / "runs.csv").drop(columns=["cpu_seconds", "crc"])  # crc: of all
        return table.sort_values(key, ignore_index=True)

    pd.testing.assert_frame_equal(runs(there), runs(here))
    assert len(runs(here)) >= 24
