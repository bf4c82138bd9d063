"""Two tiny finished runs on one manifest of texts, for the tests of what is done with runs."""

import numpy as np
import pandas as pd

import semi

WORDS = {"joy": "hurra schön toll froh", "anger": "nein weg zorn übel", "calm": "so nun also ruhig"}


def write_manifest(folder, rows=90, seed=0):
    """Writes m.csv: texts of 3 emotions by 7 speakers, half of the words drawn at random."""
    rng = np.random.default_rng(seed)
    every = " ".join(WORDS.values()).split()
    table = []
    for k in range(rows):
        label = list(WORDS)[k % 3]
        words = [*rng.choice(WORDS[label].split(), 1), *rng.choice(every, 2)]
        text = " ".join(words) + f" {k}"
        table.append({"id": f"u{k}", "text": text, "label": label, "speaker": f"s{k % 7}"})
    pd.DataFrame(table).to_csv(folder / "m.csv", index=False)


def settings(folder, name, *words):
    """Returns the settings of a run that takes about a second."""
    return semi.load_config(
        None,
        [
            "recipe=none",
            f"name={name}", f"runs_dir={folder}/runs", f"data.manifest={folder}/m.csv",
            "data.labeled_fraction=0.5", "data.test_fraction=0.3", f"features.store={folder}/store",
            "encoders.speech.model=none", "model.hidden=8", "model.projection=4",
            "train.folds=2", "train.members=1", "train.steps=10", "train.batch=16",
            "contrast.pretrain_steps=0", "rounds.max_rounds=1", "tracking=false", "threads=1",
            *words,
        ],
    )  # fmt: skip


def scaled_runs(folder, *words):
    """Trains a run scaled over all rows and one by speaker; returns {mode: path} and the table."""
    write_manifest(folder)
    runs = {
        mode: semi.self_train(
            settings(folder, mode, f"features.standardize={mode}", *words), progress=False
        ).path
        for mode in ("global", "speaker")
    }
    return runs, pd.read_csv(folder / "m.csv", dtype=str)


def two_runs(folder):
    """Trains runs/a and runs/b, which differ in their model, and returns their paths."""
    write_manifest(folder)
    for name, words in (("a", []), ("b", ["model.kind=concat", "train.lr=0.01"])):
        semi.self_train(settings(folder, name, *words), progress=False)
    return [str(folder / "runs" / name) for name in "ab"]
