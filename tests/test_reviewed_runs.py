"""A run that learns from reviews: resumed, verified, evaluated, predicted with, distilled."""

import shutil
from collections import Counter

import pandas as pd
import pytest
from two_runs import settings, write_manifest

import semi
from semi.cli import main
from semi.data.reviews import Review, append_reviews, read_reviews
from semi.errors import RunError
from semi.runs.reopen import predictions_of
from semi.runs.verify import verify
from semi.self_training.checksum_chain import mark_begun
from semi.self_training.run_dir import Run
from semi.training.rows import read_rows


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A table, reviews of 14 of its rows, and the finished run a that learned from them."""
    folder = tmp_path_factory.mktemp("reviewed")
    write_manifest(folder)
    plain = settings(folder, "a")
    manifest, splits = read_rows(plain)
    truth = dict(zip(manifest.table["id"], manifest.table["label"], strict=True))
    ids = {r: manifest.table["id"][splits.role == r].tolist() for r in ("pool", "test", "labeled")}
    lines = [Review(i, "label", truth[i], "anna", run="before", machine_label="joy", pick="random")
             for i in ids["pool"][:8]]  # fmt: skip
    lines += [Review(i, "bad_audio", "", "ben") for i in ids["pool"][8:10]]
    lines += [Review(i, "label", truth[i], "ben", pick="random") for i in ids["test"][:6]]
    append_reviews(folder / "r.csv", lines)
    semi.self_train(settings(folder, "a", f"data.reviews={folder}/r.csv"), progress=False)
    return folder, ids


def ledger(run):
    return (run / "ledger.csv").read_text()


def test_the_run_holds_who_said_what_and_does_not_ask_again(project):
    folder, ids = project
    run = folder / "runs" / "a"
    sides = pd.read_csv(run / "splits.csv").set_index("id")["role"]
    assert set(sides[ids["pool"][:8]]) == {"labeled"} and set(sides[ids["pool"][8:10]]) == {
        "unused"
    }
    assert set(sides[ids["test"]]) == {"test"}
    pool = set(pd.read_csv(run / "ledger.csv")["id"])
    assert pool == set(ids["pool"][10:])
    gold = pd.read_csv(run / "gold.csv", keep_default_na=False)
    said = gold[gold["source"] == "review"]
    assert Counter(said["use"].tolist()) == {"gold": 8, "held_out": 6, "bad_audio": 2}
    assert set(said[said["use"] == "gold"]["machine_label"]) == {"joy"}
    out = pd.read_csv(run / "quarantine.csv")
    assert dict(zip(out["id"], out["reason"], strict=True)) == dict.fromkeys(
        ids["pool"][8:10], "reviewed as bad audio by ben"
    )
    assert read_reviews(run / "gold_reviews.csv") == read_reviews(folder / "r.csv")


def test_it_goes_on_when_the_file_it_came_from_grows_or_is_gone(project, tmp_path, capsys):
    folder, ids = project
    work = tmp_path / "work"
    shutil.copytree(folder, work)
    words = settings(work, "b", f"data.reviews={work}/r.csv")
    semi.self_train(words)
    assert "\n8 rows labelled by people\n2 rows left out, which most reviewers call bad " in (
        capsys.readouterr().err
    )
    before = ledger(work / "runs" / "b")
    append_reviews(work / "r.csv", [Review(ids["pool"][20], "label", "calm", "zoe")])
    (work / "runs/b/result.json").unlink()  # as a kill leaves it
    shutil.rmtree(work / "runs/b/round-01")
    mark_begun(work / "runs/b")
    semi.self_train(words, resume=True, progress=False)
    assert "goes on with the 16 reviews that it was begun with; 1 other has come since" in (
        capsys.readouterr().err
    )
    assert ledger(work / "runs" / "b") == before
    (work / "r.csv").unlink()
    assert semi.evaluate(work / "runs" / "b").metrics["rows"]
    gold = (predictions_of(work / "runs" / "b").role == "labeled").sum()
    assert gold == len(ids["labeled"]) + 8
    assert semi.load(work / "runs" / "b").predict(texts=["hurra schön"])["label"].tolist()
    assert main(["distill", str(work / "runs" / "b"), "model.kind=concat", "model.hidden=8",
                 "train.steps=5", "encoders.speech.model=none", "name=student", "tracking=false",
                 f"runs_dir={work}/runs", f"features.store={work}/store"]) == 0  # fmt: skip
    assert len(read_reviews(work / "runs/student/gold_reviews.csv")) == 16


@pytest.mark.parametrize("word", ["data.reviews=[]", "data.reviews=other.csv"])
def test_it_is_not_resumed_with_other_reviews(project, tmp_path, word, monkeypatch):
    folder, _ = project
    monkeypatch.chdir(tmp_path)
    shutil.copy(folder / "r.csv", tmp_path / "other.csv")
    with pytest.raises(RunError, match=r"another configuration \(data.reviews was"):
        semi.self_train(settings(folder, "a", word), resume=True, progress=False)


def test_reviews_that_come_later_leave_it_as_it_was_written(project, tmp_path):
    run = tmp_path / "a"
    shutil.copytree(project[0] / "runs" / "a", run)
    append_reviews(run / "reviews.csv", [Review("u1", "unsure", "", "x")])
    found = verify(run)
    assert not found.problems
    assert any(note.endswith("grows by a line with every review") for note in found.notes)
    (run / "gold_reviews.csv").write_text((run / "gold_reviews.csv").read_text() + "\n")
    assert any("gold_reviews.csv is not as it was written" in p for p in verify(run).problems)


def test_a_run_with_peoples_words_is_not_deleted(project, tmp_path):
    run = tmp_path / "a"
    shutil.copytree(project[0] / "runs" / "a", run)
    append_reviews(run / "reviews.csv", [Review("u1", "unsure", "", "x")])
    with pytest.raises(RunError, match=r"holds 1 review by people, so .* is not deleted"):
        Run.remove(run)
    assert (run / "config.yaml").is_file()


def test_held_out_rows_that_people_labelled_are_a_test_of_their_own(project, capsys):
    folder, ids = project
    run = str(folder / "runs" / "a")
    assert main(["evaluate", run, "--reviews", str(folder / "r.csv")]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{run}: 6 gold held-out, reviewed rows, 95 % intervals over")
    assert "6 of them drawn at random" in said and "left out: 10 reviewed rows that trained" in said
    own = semi.evaluate(run, reviews=[str(folder / "r.csv")])
    plain = predictions_of(run)
    place = {name: i for i, name in enumerate(plain.ids)}
    at = [place[name] for name in ids["test"][:6]]
    right = (plain.probs[at].argmax(1) == plain.label[at]).mean()
    assert own.metrics["accuracy"] == pytest.approx(right)


def test_rows_that_trained_test_nothing(project, tmp_path):
    folder, ids = project
    append_reviews(tmp_path / "r.csv", [Review(ids["labeled"][0], "label", "joy", "x")])
    with pytest.raises(RunError, match="no held-out row has a label of its reviewers"):
        semi.evaluate(folder / "runs" / "a", reviews=[str(tmp_path / "r.csv")])
