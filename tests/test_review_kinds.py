"""The review page of several labels, of valence and arousal, and where nothing shipped."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from starlette.testclient import TestClient
from two_runs import WORDS

import semi
from semi.cli import main
from semi.data.reviews import Review, append_reviews, read_reviews
from semi.review.rows import review_table
from semi.review.server import review_app
from semi.runs.reopen import predictions_of


def run_of(folder, kind, *words):
    """Trains a run of texts of a kind of task, and returns its path."""
    rng = np.random.default_rng(0)
    every = " ".join(WORDS.values()).split()
    table = []
    for k in range(72):
        label, other = list(WORDS)[k % 3], list(WORDS)[(k // 3) % 3]
        said = [*rng.choice(WORDS[label].split(), 1), *rng.choice(every, 2), str(k)]
        row = {"id": f"u{k}", "text": " ".join(said), "speaker": f"s{k % 6}"}
        if kind == "multi_label":
            row["votes"] = json.dumps({label: 1, other: 1})
        else:
            row |= {"valence": 1 + k % 3 + rng.random(), "arousal": 1 + k % 4 + rng.random()}
        table.append(row | ({"label": label} if kind in ("joint", "single") else {}))
    pd.DataFrame(table).to_csv(folder / "m.csv", index=False)
    config = semi.load_config(
        None,
        [
            f"task.kind={kind}", "name=r", f"runs_dir={folder}/runs",
            f"data.manifest={folder}/m.csv", "data.labeled_fraction=0.5", "data.test_fraction=0.3",
            f"features.store={folder}/store", "encoders.speech.model=none", "threads=1",
            "tracking=false", "rounds.max_rounds=1", *words,
        ],
    )  # fmt: skip
    semi.self_train(config, progress=False)
    return Path(config.path)


def opened(path):
    table = review_table(path)
    headers = {"X-Review-Token": "t"}
    return table, TestClient(review_app(table, "t"), base_url="http://localhost", headers=headers)


def send(client, name, **given):
    return client.post("/api/reviews", json={"id": name, "reviewer": "Ada", **given})


def test_of_several_labels_any_number_is_given_in_the_order_of_the_classes(tmp_path):
    path = run_of(tmp_path, "multi_label", "data.ties=votes")
    table, client = opened(path)
    assert table.several and table.classes == ["anger", "calm", "joy"]
    name = client.get("/api/rows").json()["rows"][0]["id"]
    for label, kept in (("joy;anger", "anger;joy"), ("calm", "calm")):
        answer = send(client, name, verdict="label", label=label)
        assert answer.json()["saved"]["label"] == kept
    for label in ("joy;joy", "joy;", ";", "anger;rage", "anger,joy"):
        answer = send(client, name, verdict="label", label=label)
        assert answer.status_code == 400
        assert answer.json()["error"].startswith("label must be one of anger, calm, joy, got ")
    assert len(read_reviews(path / "reviews.csv")) == 2
    probs = table.probs[table.number[name]]
    said = ";".join(c for c, p in zip(table.classes, probs, strict=True) if p >= 0.5)
    assert table.columns["said"][table.number[name]] == (said or None)


@pytest.mark.parametrize("kind", ["affect", "joint"])
def test_valence_and_arousal_are_shown(tmp_path, kind):
    path = run_of(tmp_path, kind)
    table, client = opened(path)
    name = client.get("/api/rows").json()["rows"][0]["id"]
    shown = client.get("/api/row", params={"id": name}).json()["affect"]
    assert set(shown) == {"valence", "arousal"}
    assert all(0 < value < 6 for value in shown.values())
    answer = send(client, name, verdict="label", label="joy")
    if kind == "joint":
        assert answer.status_code == 200
    else:
        assert answer.status_code == 400 and table.classes == []
        assert answer.json()["error"] == (
            "this run measures valence and arousal and has no classes"
        )
    assert send(client, name, verdict="bad_audio").status_code == 200


def test_where_the_warm_start_ships_nothing_was_learned(tmp_path):
    path = run_of(tmp_path, "single", "rounds.max_rounds=0")
    table, client = opened(path)
    rows = client.get("/api/rows").json()["rows"]
    assert rows and not any(row["chosen"] for row in rows)
    assert all(row["said"] in table.classes for row in rows)
    shown = client.get("/api/row", params={"id": rows[0]["id"]}).json()
    assert shown["history"] == shown["votes"] == [] and shown["now"]["label"] == rows[0]["said"]
    assert np.isfinite(table.columns["margin"]).all()


def test_of_several_labels_held_out_rows_are_a_test_by_what_people_said(tmp_path, capsys):
    path = run_of(tmp_path, "multi_label", "data.ties=votes")
    known = predictions_of(path)
    test = np.flatnonzero(known.role == "test")[:9]
    names = [known.ids[i] for i in test]
    words = ["anger;joy", "calm", "joy;calm;anger", "anger", "joy", "calm;joy"]
    said = [Review(n, "label", w, "ann", pick="random")
            for n, w in zip(names, words, strict=False)]  # fmt: skip
    said += [Review(names[5], "label", "joy", "ben"), Review(names[6], "unsure", "", "ann")]
    append_reviews(tmp_path / "r.csv", said)
    done = semi.evaluate(path, reviews=[str(tmp_path / "r.csv")])
    words[5] = "joy"  # what most of two reviewers name: joy 1.5, calm 0.5
    truth = np.array([[c in w.split(";") for c in known.classes] for w in words])
    predicted = known.probs[test[:6]] >= 0.5
    hits = (truth & predicted).sum()
    assert done.split == "reviewed" and done.metrics["rows"] == 6
    micro = 2 * hits / (truth.sum() + predicted.sum())
    assert done.metrics["micro_f1"] == pytest.approx(micro)
    assert main(["evaluate", str(path), "--reviews", str(tmp_path / "r.csv")]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"{path}: 6 gold held-out, reviewed rows")
    assert "6 of them drawn at random" in told and "1 without a label that most agree on" in told


def test_of_classes_beside_valence_and_arousal_the_classes_are_scored(tmp_path):
    path = run_of(tmp_path, "joint")
    known = predictions_of(path)
    test = np.flatnonzero(known.role == "test")[:4]
    append_reviews(tmp_path / "r.csv", [Review(known.ids[i], "label", "joy", "x") for i in test])
    done = semi.evaluate(path, reviews=[str(tmp_path / "r.csv")])
    right = (known.probs[test].argmax(1) == known.classes.index("joy")).mean()
    assert done.metrics["accuracy"] == pytest.approx(right) and "affect" not in done.metrics


def test_reviews_score_no_valence(tmp_path, capsys):
    path = run_of(tmp_path, "affect")
    append_reviews(tmp_path / "r.csv", [Review("u1", "label", "joy", "x")])
    assert main(["evaluate", str(path), "--reviews", str(tmp_path / "r.csv")]) == 2
    said = capsys.readouterr().err
    assert "has task.kind=affect: reviews name classes, which it has none of" in said
