"""`semi finetune` learns from the rows that `semi train` takes for labelled, whatever the task."""

import numpy as np
import pandas as pd
import pytest
from golden_runs import BOTH, CONFIGS, TINY, write_small

import semi
from semi.training.finetune.data import gold_rows

DRAWN = [*TINY, *BOTH, "data.fold_method=grouped", "data.group=speaker", "data.test_fold=null",
         "data.labeled_fraction=0.6", "select.rule=threshold", "rounds.max_rounds=0",
         "data.allow_leaks=[]", "train.steps=1"]  # fmt: skip
TASKS = {
    "one label": ("emo_ensemble_text30", ["data.ties=drop"]),
    "ties by votes": ("emo_ensemble_text30", ["data.ties=votes"]),
    "several labels": ("etri_concat_class", []),
    "valence and arousal": ("etri_concat_affect", []),
    "both": ("etri_concat_total", []),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Returns a folder with 36 real recordings with votes, valence and arousal."""
    folder = tmp_path_factory.mktemp("rows")
    write_small(folder)
    return folder


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("seed", [0, 3])
def test_the_rows_that_are_learned_from_are_labelled_training_rows_of_a_run(folder, task, seed):
    recipe, words = TASKS[task]
    where = [f"name={task.replace(' ', '-')}-{seed}", f"runs_dir={folder / 'runs'}",
             f"features.store={folder / 'store'}",
             f"data.manifest={folder / 'manifest.csv'}"]  # fmt: skip
    words = [*where, *DRAWN, *words, f"seed={seed}"]
    config = semi.load_config(CONFIGS / f"{recipe}.yaml", words)
    run = semi.self_train(config, progress=False)
    splits = pd.read_csv(run.path / "splits.csv", dtype=str)
    role = dict(zip(splits["id"], splits["role"], strict=True))
    assert {"labeled", "pool", "test"} <= set(role.values())
    rows = gold_rows(config, ["speech", "text"])
    watched = rows.table["id"].iloc[rows.watch].astype(str).tolist()
    learned = [*rows.ids, *watched]
    assert sorted(learned) == sorted(name for name, r in role.items() if r == "labeled")
    group = dict(zip(splits["id"], splits["group"], strict=True))
    assert not {group[i] for i in learned} & {group[i] for i, r in role.items() if r == "test"}
    hidden = np.setdiff1d(np.arange(len(rows.table)), [*rows.train, *rows.watch])
    assert (rows.target[hidden][:, : len(rows.classes)].sum(1) == 0).sum() >= sum(
        r == "pool" for r in role.values()
    )
