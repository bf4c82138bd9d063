"""The student that ends a run: one model for all, judged by the gate, kept like a round."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from two_runs import settings, write_manifest

import semi
from semi.evaluation.text import run_words
from semi.runs.distill import soft_labels
from semi.self_training import final_student as student
from semi.self_training.checksum_chain import mark_begun
from semi.self_training.model_dir import load_model
from semi.self_training.run_dir import Run

FINAL = ["distill.final=true", "train.members=2", "rounds.accept_se=9", "rounds.min_information=0",
         "train.lr=0.02", "train.steps=60", "distill.temperature=1",
         # a student that clearly ships, and no dropout: releases of torch draw it differently
         "seed=2", "model.dropout=0"]  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("student")
    write_manifest(folder, rows=150)
    return folder


@pytest.fixture(scope="module")
def finished(home):
    return semi.self_train(settings(home, "final", *FINAL, "tracking=true"), progress=False)


def record(path, number):
    return json.loads((Path(path) / f"round-0{number}" / "round.json").read_text())


def kept(path):
    names = ["ledger.csv", "result.json", "model/model.safetensors", "round-02/round.json"]
    return {n: (path / n).read_bytes() for n in names}


def test_one_model_ships_in_place_of_all(finished):
    path, model = finished.path, load_model(finished.path)
    assert (model.chains, model.ensemble.count) == (1, 1)
    assert finished.best_round == 2 and finished.rounds == 1
    taught, before = record(path, 2), record(path, 1)
    assert taught["rule"] == "distill" and taught["alone"] and not before["alone"]
    assert "One student ships in place of its 6 models" in finished.sentence
    assert (
        f"(out-of-fold {100 * taught['metrics_oof']['macro_f1']:.1f} against" in finished.sentence
    )


def test_the_record_is_of_the_one_model_that_ships(finished):
    taught = record(finished.path, 2)
    for split, key in (("test", "metrics_test"), ("oof", "metrics_oof")):
        found = semi.evaluate(finished.path, split=split).metrics
        assert found["confusion"] == taught[key]["confusion"]
    assert semi.load(finished.path).predict(texts=["hurra toll"])["label"].notna().all()


def test_ledger_report_and_tensorboard_tell_of_the_student(finished):
    ledger = pd.read_csv(finished.path / "ledger.csv")
    mine = ledger[ledger["round"] == 2]
    splits = pd.read_csv(finished.path / "splits.csv")
    assert set(mine["rule"]) == {"distill"} and mine["chosen"].all()
    assert set(mine["id"]) == set(splits.loc[splits["role"] == "pool", "id"])
    page = (finished.path / "report.html").read_text(encoding="utf-8")
    assert finished.sentence.split(". ")[-1] in page and "<td>distill</td>" in page
    assert "last student" in page and "last student" in run_words(finished.path)
    assert len(list((finished.path / "tb").rglob("events.out.tfevents.*"))) >= 3


@pytest.mark.parametrize("lost", [["round-02"], []])
def test_killed_before_or_after_the_student_it_ends_the_same(home, finished, lost):
    before = kept(finished.path)
    mark_begun(finished.path)
    for name in ["model", *lost]:
        shutil.rmtree(finished.path / name)
    (finished.path / "result.json").unlink()
    config = settings(home, "final", *FINAL, "tracking=true")
    again = semi.self_train(config, resume=True, progress=False)
    assert kept(again.path) == before and again.sentence == finished.sentence


def test_a_run_that_ends_early_does_not_take_the_student_for_a_round(home):
    words = [*FINAL, "rounds.max_rounds=3", "rounds.min_change=0.99"]
    done = semi.self_train(settings(home, "early", *words), progress=False)
    assert done.stopped == "no_change" and done.rounds < 3
    assert done.best_round == 4
    again = semi.self_train(settings(home, "early", *words), resume=True, progress=False)
    assert (again.rounds, again.best_round, again.stopped) == (done.rounds, 4, "no_change")


def test_a_run_with_a_student_teaches_as_every_chain_of_its_students_speaks(finished):
    said = soft_labels(finished.path)
    assert len(said.gold) == len(said.pool) == 3  # 2 folds and the chain that ships
    assert np.isfinite(said.gold).all() and np.isfinite(said.pool).all()
    assert not np.allclose(said.pool[0], said.pool[-1])


def test_a_student_that_gold_objects_to_does_not_ship(home, monkeypatch):
    honest = student.soft_labels_of

    def wrong(*given, **more):
        labels = honest(*given, **more)
        labels.gold, labels.pool = np.roll(labels.gold, 1, -1), np.roll(labels.pool, 1, -1)
        return labels

    monkeypatch.setattr(student, "soft_labels_of", wrong)
    words = ["distill.final=true", "distill.alpha=0", "rounds.accept_se=0", "train.lr=0.02"]
    words += ["train.steps=40", "model.kind=concat"]
    done = semi.self_train(settings(home, "poisoned", *words), progress=False)
    assert "Its 3 models stay: a student of theirs is behind (out-of-fold" in done.sentence
    assert done.best_round < 2 and load_model(done.path).chains == 3
    assert record(done.path, 2)["verdict"].startswith("rolled back")
    again = semi.self_train(settings(home, "poisoned", *words), resume=True, progress=False)
    assert again.sentence == done.sentence


def test_of_linear_models_the_last_chain_ships_without_training(home):
    words = ["distill.final=true", "model.kind=discriminant"]
    done = semi.self_train(settings(home, "linear", *words), progress=False)
    model = load_model(done.path)
    assert (model.chains, model.ensemble.count) == (1, 1)
    assert "Of its 3 models the 1 that learned from all labels ship alone." in done.sentence
    plain = semi.self_train(settings(home, "plain", words[1]), progress=False)
    every = load_model(plain.path).ensemble
    assert every.count == 3
    for name, value in model.ensemble.params.items():
        np.testing.assert_array_equal(value[0].numpy(), every.params[name][-1].numpy())
    assert record(done.path, 2)["metrics_oof"] == record(done.path, plain.best_round)["metrics_oof"]
    assert Run.open(done.path).config.distill.final
