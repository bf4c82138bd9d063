"""A finished run on real speech for the tests of the review page, and its server in a process."""

import shutil
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from server_process import server_process

import semi
from semi.data.corpora import bundled_emodb


def spoken_run(folder, store, rows=60):
    """Trains runs/heard on a few recordings of each bundled speaker, and returns its path.

    Their sounds are copied, so that a test may take one away.
    """
    whole = pd.read_csv(bundled_emodb(), dtype=str, keep_default_na=False)
    table = whole.groupby("speaker", group_keys=False).head(rows // 10).copy()
    (folder / "audio").mkdir(parents=True)
    for name in table["audio"]:
        shutil.copy(bundled_emodb().parent / name, folder / "audio")
    table.to_csv(folder / "m.csv", index=False)
    words = ["data.labeled_fraction=0.5", "data.test_fraction=0.3", "data.allow_leaks=[text]"]
    semi.self_train(semi.load_config(None, [*run_settings(folder, store), *words]), progress=False)
    return folder / "runs" / "heard"


def run_settings(folder, store):
    """Returns the settings of a run that takes about two seconds, named heard."""
    return [
        "recipe=none", "name=heard", f"runs_dir={folder}/runs", f"data.manifest={folder}/m.csv",
        f"features.store={store}", "encoders.speech.model=acoustic",
        "encoders.text.model=char-ngram", "model.hidden=8", "model.projection=4", "train.folds=2",
        "train.members=1", "train.steps=10", "train.batch=16", "contrast.pretrain_steps=0",
        "rounds.max_rounds=2", "select.rule=soft_allocation", "tracking=false", "threads=1",
        "data.workers=1",
    ]  # fmt: skip


@contextmanager
def serving(run, *words):
    """Runs `semi review RUN` as a process of its own; yields it and its address."""
    told = ["review", str(run), "--no-browser", "--port", "0", *words]
    with server_process(told, r"http://\S+") as (server, address, _):
        yield server, address.group()


def copied(run, folder):
    """Returns a copy of a run, which a test may add reviews to; its data stay where they are."""
    return Path(shutil.copytree(run, Path(folder) / Path(run).name))
