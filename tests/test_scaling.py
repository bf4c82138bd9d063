"""features.standardize=auto: gold chooses between global and speaker, and the run keeps it."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from two_runs import settings, write_manifest

import semi
from semi.data.draws import LabelledRows
from semi.data.folds import assign_folds
from semi.data.roles import Splits
from semi.features.config import FeaturesConfig
from semi.features.standardize import Standardizer
from semi.features.tensors import Features, Frames
from semi.self_training.model_dir import load_model
from semi.self_training.standardize_selection import choose_scaling


def problem(n=160, confounded=False, gold=80, seed=0):
    """Returns features, splits, ids and speakers: of 16 speakers, each with a large offset.

    Each speaker says every class, or (confounded) one class only and has no offset.
    """
    rng = np.random.default_rng(seed)
    number = np.arange(n) % 16
    label = number % 4 if confounded else (np.arange(n) // 16 + number) % 4
    x = rng.normal(0, 0.6, (n, 12))
    x[np.arange(n), label] += 2
    if not confounded:
        x += rng.normal(0, 4, (16, 12))[number]
    speakers = np.array([f"s{k:02d}" for k in number], dtype=object)
    role = np.array(["test" if k >= 13 else "labeled" for k in number])
    role[(role == "labeled") & (rng.permutation(n) >= gold / 13 * 16)] = "pool"
    mine = role == "labeled"
    ids = np.array([f"u{i:03d}" for i in range(n)])
    fold = np.full(n, -1)
    rows = LabelledRows(ids, label, speakers.astype(str)).at(np.flatnonzero(mine))
    fold[mine], _ = assign_folds(rows, 4, 0, "speaker")
    splits = Splits(role, label, np.eye(4, dtype=np.float32)[label], speakers.astype(str), fold)
    values = {"speech": torch.from_numpy(x.astype(np.float32))}
    return Features(values, torch.ones(n, 1, dtype=torch.bool)), splits, ids, speakers.tolist()


def chosen(features, splits, ids, speakers, **settings):
    return choose_scaling(features, splits, ids, speakers, FeaturesConfig(**settings), 0)


@pytest.mark.parametrize("seed", range(3))
def test_offsets_of_speakers_are_scaled_away_and_their_labels_are_not(seed):
    assert chosen(*problem(seed=seed)).mode == "speaker"
    scaling = chosen(*problem(confounded=True, seed=seed))
    assert scaling.mode == "global"
    assert "gold rows out-of-fold say: speaker knows -" in scaling.sentence


def test_frames_are_compared_by_their_means():
    features, splits, ids, speakers = problem()
    x = features.values["speech"]
    packed = Frames(
        torch.stack([x - 1, x + 1], 1).flatten(0, 1), torch.arange(0, 2 * len(x) + 1, 2),
        torch.ones(len(x), dtype=torch.bool),
    )  # fmt: skip
    means, vectors = chosen({"speech": packed}, splits, ids, speakers), chosen(*problem())
    assert means.mode == vectors.mode == "speaker"


def test_neither_test_rows_nor_hidden_labels_are_asked():
    features, splits, ids, speakers = problem()
    before = chosen(features, splits, ids, speakers)
    rng = np.random.default_rng(1)
    hidden = splits.role != "labeled"
    splits.label[hidden] = rng.integers(0, 4, hidden.sum())
    features.values["speech"][splits.role == "test"] = 9.0
    assert chosen(features, splits, ids, speakers) == before


def test_without_speakers_or_with_few_labels_it_is_global_and_says_so():
    features, splits, ids, speakers = problem()
    assert chosen(features, splits, ids, [None] * 160).sentence.endswith(
        "gold rows know no speaker"
    )
    assert chosen(features, splits, ids, ["a"] * 160).sentence.endswith("know one speaker")
    few = chosen(*problem(gold=13))
    assert few.mode == "global" and "too few to compare" in few.sentence
    plain = Standardizer.fit(features, [True] * 160, FeaturesConfig(), speakers)
    assert plain.mode == "global"  # where nobody compares


def test_a_run_keeps_what_was_chosen_and_goes_on_with_it(tmp_path, capsys, monkeypatch):
    write_manifest(tmp_path)
    table = pd.read_csv(tmp_path / "m.csv")
    words = ["features.standardize=auto"]
    whole = semi.self_train(settings(tmp_path, "whole", *words))
    (told,) = [n for n in json.loads((whole.path / "result.json").read_text())["notes"]
               if n.startswith("features.standardize=")]  # fmt: skip
    assert told in capsys.readouterr().err and "gold rows out-of-fold say" in told
    mode = told.partition("=")[2].partition(",")[0]
    model = load_model(whole.path)
    assert model.standardizer.mode == mode == model.config.features.standardize
    assert f"standardize: {mode}" in (whole.path / "config.yaml").read_text()

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("semi.self_training.train.run_rounds", killed)
        semi.self_train(settings(tmp_path, "cut", *words), progress=False)
    assert f"standardize: {mode}" in (tmp_path / "runs" / "cut" / "config.yaml").read_text()
    again = semi.self_train(settings(tmp_path, "cut", *words), resume=True, progress=False)
    assert (again.path / "ledger.csv").read_bytes() == (whole.path / "ledger.csv").read_bytes()
    assert told in json.loads((again.path / "result.json").read_text())["notes"]
    test = semi.evaluate(whole.path).metrics["macro_f1"]
    assert test == pytest.approx(whole.metrics["metrics_test"]["macro_f1"])

    table.drop(columns="speaker").to_csv(tmp_path / "m.csv", index=False)
    alone = semi.self_train(settings(tmp_path, "alone", *words), progress=False)
    assert load_model(alone.path).standardizer.mode == "global"
