"""A run on a few bundled recordings, small enough for a test that goes from sound to people."""

import pandas as pd

import semi
from semi.data.corpora import bundled_emodb

CLASSES = ("anger", "happiness", "neutral", "sadness")


def write_spoken(folder, speakers=6, each=4):
    """Writes m.csv: recordings of four emotions by so many speakers, `each` of an emotion."""
    table = pd.read_csv(bundled_emodb(), dtype=str).sort_values("id")
    heard = sorted(set(table["speaker"]))[:speakers]
    pairs = zip(table["label"], table["speaker"], strict=True)
    table = table[[label in CLASSES and speaker in heard for label, speaker in pairs]]
    table = table.groupby(["speaker", "label"]).head(each)
    table = table.assign(audio=[str(bundled_emodb().parent / path) for path in table["audio"]])
    table[["id", "audio", "text", "label", "speaker"]].to_csv(folder / "m.csv", index=False)


def spoken_settings(folder, store, name, *words):
    """Returns the settings of a run on them that takes a few seconds."""
    return semi.load_config(
        None,
        [
            f"name={name}", f"runs_dir={folder}/runs", f"data.manifest={folder}/m.csv",
            f"features.store={store}", "encoders.speech.model=acoustic",
            "encoders.text.model=none", "features.standardize=speaker", "data.labeled_count=12",
            "data.test_fraction=0.3",
            "data.allow_leaks=[text]", "recipe=none", "model.kind=discriminant", "train.folds=2",
            "train.members=1", "rounds.max_rounds=1", "select.coverage=[1.0]",
            "tracking=false", "threads=1", *words,
        ],
    )  # fmt: skip


def trained_spoken(folder, store):
    """Returns the finished run `spoken` on them."""
    write_spoken(folder)
    semi.self_train(spoken_settings(folder, store, "spoken"), progress=False)
    return folder / "runs" / "spoken"
