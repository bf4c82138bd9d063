"""Reviews that come to the review page: on disk, undone, of others, or refused."""

import json
import os

import pytest
from review_client import opened, review, rows
from spoken_run import copied

from semi.data.reviews import Review, append_review, read_reviews
from semi.runs.verify import verify


@pytest.fixture
def run(heard, tmp_path):
    return copied(heard, tmp_path)


def test_a_review_is_in_the_file_with_what_the_machine_said(run):
    _, client = opened(run)
    row = rows(client)["rows"][0]
    answer = review(client, row["id"], "sadness")
    (written,) = read_reviews(run / "reviews.csv")
    assert (written.id, written.verdict, written.label, written.reviewer) == (
        row["id"], "label", "sadness", "Ada",
    )  # fmt: skip
    assert written.run == "heard" and written.machine_label == row["said"]
    assert float(written.machine_confidence) == pytest.approx(row["confidence"], abs=1e-5)
    assert answer["saved"]["time"] == written.time and answer["progress"]["reviewed"] == 1
    review(client, row["id"], None, verdict="unsure")
    review(client, row["id"], None, verdict="bad_audio")
    assert [r.verdict for r in read_reviews(run / "reviews.csv")] == [
        "label", "unsure", "bad_audio",
    ]  # fmt: skip
    assert verify(run).problems == []


def test_of_a_gold_row_the_machine_counts_nowhere(run):
    _, client = opened(run)
    name = rows(client, part="labeled")["rows"][0]["id"]
    assert client.get("/api/row", params={"id": name}).json()["given"]
    review(client, name)
    (written,) = read_reviews(run / "reviews.csv")
    assert written.machine_label == written.machine_confidence == ""


def test_a_held_out_row_is_judged_in_its_own_part_only(run):
    _, client = opened(run)
    name = rows(client, part="held-out")["rows"][0]["id"]
    ask = {"id": name, "reviewer": "Ada"}
    assert client.get("/api/row", params=ask).json()["given"] is None
    for query in ({}, {"part": "pool"}, {"order": "id"}):
        error = review(client, name, status=409, query=query)["error"]
        assert error == "this row is held out; judge it in the part 'held-out' only"
    assert not (run / "reviews.csv").exists()
    assert review(client, name, query={"part": "held-out"})["saved"]["pick"] == "browse"
    assert client.get("/api/row", params=ask).json()["given"]  # after one's own word


def test_undo_takes_back_the_newest_word_also_after_a_restart(run):
    _, client = opened(run)
    first, second = (r["id"] for r in rows(client)["rows"][:2])
    review(client, first, "anger")
    review(client, first, "fear")
    review(client, second, "fear")
    _, client = opened(run)
    undone = [client.post("/api/undo", json={"reviewer": "Ada"}).json() for _ in range(3)]
    assert [u["saved"]["id"] for u in undone] == [second, first, first]
    assert [u["own"] and u["own"]["label"] for u in undone] == [None, "anger", None]
    answer = client.post("/api/undo", json={"reviewer": "Ada"})
    assert answer.status_code == 409 and answer.json()["error"] == "There is nothing to undo"
    assert len(read_reviews(run / "reviews.csv")) == 6  # nothing is ever taken out


def test_one_sees_others_words_after_ones_own_or_by_a_switch(run):
    _, client = opened(run)
    name = rows(client)["rows"][0]["id"]
    review(client, name, "fear", reviewer="Bo")
    ask = {"id": name, "reviewer": "Ada"}
    hidden = client.get("/api/row", params=ask).json()
    assert (hidden["others"], hidden["others_hidden"], hidden["own"]) == ([], 1, None)
    assert "Bo" not in json.dumps(hidden)
    switched = client.get("/api/row", params=ask | {"others": "yes"}).json()
    assert [(w["reviewer"], w["label"]) for w in switched["others"]] == [("Bo", "fear")]
    review(client, name, "anger")
    after = client.get("/api/row", params=ask).json()
    assert [(w["reviewer"], w["label"]) for w in after["others"]] == [("Bo", "fear")]
    assert after["own"]["label"] == "anger" and after["others_hidden"] == 0
    undo = client.post("/api/undo", json={"reviewer": "Bo"}).json()
    assert undo["saved"]["id"] == name  # of Bo's own words alone
    assert client.get("/api/row", params=ask).json()["own"]["label"] == "anger"


def test_what_another_process_appends_is_seen(run):
    _, client = opened(run)
    one, two = (r["id"] for r in rows(client)["rows"][:2])
    review(client, one)
    append_review(run / "reviews.csv", Review(two, "unsure", reviewer="Ada"))
    assert rows(client)["progress"]["reviewed"] == 2
    review(client, two, "fear")
    assert {r["id"]: r["own"]["verdict"] for r in rows(client, reviewed="done")["rows"]} == {
        one: "label", two: "label",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "status", "sentence"),
    [
        ({"id": "nobody"}, 404, "this run has no row nobody"),
        ({"id": None}, 400, "id is missing"),
        ({"id": ["03a01Fa"]}, 400, "id is missing"),
        ({"label": "joy"}, 400, "label must be one of anger, boredom, "),
        ({"label": "anger;fear"}, 400, "label must be one of "),
        ({"label": None}, 400, "label is missing"),
        ({"verdict": "undo"}, 400, "verdict must be one of label, unsure, bad_audio"),
        ({"verdict": "gold"}, 400, "verdict must be one of "),
        ({"reviewer": ""}, 400, "reviewer is missing"),
        ({"reviewer": " \t"}, 400, "reviewer must be a name of at most 60 letters"),
        ({"reviewer": "x" * 61}, 400, "reviewer must be a name"),
        ({"reviewer": "a\u0000b"}, 400, "reviewer must be a name"),
        ({"query": "all"}, 400, "query must be an object of texts"),
        ({"query": {"order": "x"}}, 400, "order must be one of "),
    ],
)
def test_a_review_that_is_none_is_told_so_and_not_written(run, change, status, sentence):
    _, client = opened(run)
    name = rows(client)["rows"][0]["id"]
    error = review(client, **{"name": name, "status": status} | _renamed(change))["error"]
    assert error.startswith(sentence)
    assert not (run / "reviews.csv").exists()


def _renamed(change):
    return {"name" if key == "id" else key: value for key, value in change.items()}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"1", b"[" * 9000, b"\xff", b'{"id": NaN}'])
def test_a_body_that_is_no_object_is_told_so(run, body):
    _, client = opened(run)
    json_type = {"Content-Type": "application/json"}
    answer = client.post("/api/reviews", content=body, headers=json_type)
    assert answer.status_code == 400 and "error" in answer.json()
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = client.post("/api/reviews", content=b"{}", headers={"Content-Type": kind})
        assert answer.status_code == 415


def test_a_list_that_cannot_be_written_is_told_and_nothing_is_said_to_be_saved(run, monkeypatch):
    _, client = opened(run)
    name = rows(client)["rows"][0]["id"]

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        error = review(client, name, status=500)["error"]
    assert "reviews.csv cannot be written: No space left on device" in error


def word_of(client, name, label="fear"):
    given = {"id": name, "verdict": "label", "label": label, "reviewer": "Ada"}
    answer = client.post("/api/reviews", json=given)
    return answer.status_code, answer.json().get("error", "")


def test_a_word_that_is_not_taken_is_not_written(run):
    table, client = opened(run)
    names = table.columns["id"][table.columns["role"] == "pool"]
    assert word_of(client, names[0])[0] == 200
    file = run / "reviews.csv"
    file.write_text(file.read_text() + "a,b,c,d,e,f,g,h,i,j\n")
    before = file.read_bytes()
    status, error = word_of(client, names[1])
    assert status == 500 and "reviews.csv, line 3: verdict must be one of" in error
    assert file.read_bytes() == before


def test_a_run_that_is_moved_while_it_is_served_is_told(run):
    table, client = opened(run)
    names = table.columns["id"][table.columns["role"] == "pool"]
    assert word_of(client, names[0])[0] == 200
    run.rename(run.with_name("moved"))
    for status, error in (word_of(client, names[1]), (
        (answer := client.get("/api/rows?reviewer=Ada")).status_code, answer.json().get("error", "")
    )):  # fmt: skip
        assert (
            status == 500
            and "there is no folder" in error
            and "if it was moved, bring it back" in error
        )
    assert not run.exists()
    run.with_name("moved").rename(run)
    assert word_of(client, names[1])[0] == 200 and len(read_reviews(run / "reviews.csv")) == 2


def test_a_link_that_leads_nowhere_takes_no_word(run):
    table, client = opened(run)
    (run / "reviews.csv").symlink_to(run / "gone" / "reviews.csv")
    status, error = word_of(client, table.columns["id"][table.columns["role"] == "pool"][0])
    assert status == 500 and f"there is no folder {run}/gone" in error
