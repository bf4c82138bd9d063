"""A finished run on real speech for the tests of the review page, and its server in a process."""

import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

import semi
from semi.data.corpora import bundled_emodb

ROOT = Path(__file__).parents[1]


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
    server = subprocess.Popen(
        [sys.executable, "-m", "semi", "review", str(run), "--no-browser", "--port", "0", *words],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
        # a shell that runs the tests in the background hands down SIGINT as ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert server.stdout is not None
    said = []
    try:
        for line in server.stdout:
            said.append(line)
            if address := re.search(r"http://\S+", line):
                yield server, address.group()
                return
        raise AssertionError("".join(said))
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


def copied(run, folder):
    """Returns a copy of a run, which a test may add reviews to; its data stay where they are."""
    return Path(shutil.copytree(run, Path(folder) / Path(run).name))
