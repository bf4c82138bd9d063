"""The review page's answers: lists, rows, sounds by ranges, reviews on disk, undo, others."""

import io
import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile
from speech_files import speech
from spoken_run import copied, run_settings
from starlette.testclient import TestClient

import semi
from semi.data.audio import load_audio
from semi.data.reviews import Review, append_review, read_reviews
from semi.review.rows import review_table
from semi.review.server import PAGE, review_app
from semi.review.sound import asked_part
from semi.runs.verify import verify

HEADERS = {"X-Review-Token": "t"}


@pytest.fixture
def run(heard, tmp_path):
    return copied(heard, tmp_path)


def opened(run):
    table = review_table(run)
    client = TestClient(review_app(table, "t"), base_url="http://127.0.0.1:1", headers=HEADERS)
    return table, client


def rows(client, **query):
    answer = client.get("/api/rows", params={"reviewer": "Ada", **query})
    assert answer.status_code == 200, answer.text
    return answer.json()


def review(client, name, label="anger", status=200, **more):
    given = {"id": name, "verdict": "label", "label": label, "reviewer": "Ada"} | more
    answer = client.post("/api/reviews", json={k: v for k, v in given.items() if v is not None})
    assert answer.status_code == status, answer.text
    return answer.json()


# --- lists ---


def test_a_list_shows_the_pool_and_held_out_rows_only_in_their_own_part(run):
    table, client = opened(run)
    roles = table.columns["role"]
    for part, wanted in (("pool", {"pool"}), ("labeled", {"labeled"}), ("held-out", {"test"})):
        found = rows(client, part=part)
        assert found["total"] == np.isin(roles, list(wanted)).sum() > 0
        assert {row["role"] for row in found["rows"]} == wanted
    assert {row["role"] for row in rows(client, order="id")["rows"]} == {"pool"}


def test_what_the_list_says_is_what_the_ledger_says(run):
    _, client = opened(run)
    ledger = pd.read_parquet(run / "ledger.parquet").set_index(["id", "round"])
    best = json.loads((run / "result.json").read_text())["best_round"]
    found = rows(client)["rows"]
    assert len(found) == 20
    for row in found:
        line = ledger.loc[(row["id"], best)]
        assert (row["said"], row["chosen"]) == (line["label"], line["accepted"])
        assert row["confidence"] == pytest.approx(line["confidence"], abs=1e-5)
        assert row["flips"] == line["flips"]
        shown = client.get("/api/row", params={"id": row["id"]}).json()
        assert [h["label"] for h in shown["history"]] == ledger.loc[row["id"]]["label"].tolist()
        assert {v["modality"]: v["label"] for v in shown["votes"]} == {
            head: line[f"vote_{head}"] for head in ("speech", "text")
        }
        classes = [c[2:] for c in ledger if c.startswith("p_")]
        assert shown["probs"] == pytest.approx([line[f"p_{c}"] for c in classes], abs=1e-5)
        assert shown["raw"] == pytest.approx([line[f"raw_{c}"] for c in classes], abs=1e-5)
        assert shown["given"] is None  # hidden from the run, so from the reviewer too


@pytest.mark.parametrize("order", ["confidence", "margin", "contradiction", "said", "speaker"])
def test_lists_are_sorted_both_ways(run, order):
    table, client = opened(run)
    column = table.columns[order]
    for descending in ("no", "yes"):
        found = rows(client, order=order, descending=descending)["rows"]
        values = [column[table.number[row["id"]]] for row in found]
        assert values == sorted(values, reverse=descending == "yes") and len(found) == 20


def test_filters_and_search_keep_what_they_say(run):
    table, client = opened(run)
    every = rows(client)["rows"]
    label, speaker = every[0]["said"], every[0]["speaker"]
    assert {r["said"] for r in rows(client, machine=label)["rows"]} == {label}
    assert {r["speaker"] for r in rows(client, speaker=speaker)["rows"]} == {speaker}
    some = rows(client, q="LAPPEN")["rows"]
    assert some and all("lappen" in r["text"].lower() for r in some)
    assert len(some) == sum("lappen" in r["text"].lower() for r in every)
    assert [r["id"] for r in rows(client, q=every[3]["id"].lower())["rows"]] == [every[3]["id"]]
    split = [rows(client, flipped=answer)["total"] for answer in ("yes", "no", "any")]
    assert split[0] + split[1] == split[2] == 20
    margins = {r["id"]: table.columns["margin"][table.number[r["id"]]] for r in every}
    most = max(0.0, round(float(np.median(list(margins.values()))), 4))
    near = {r["id"] for r in rows(client, margin=f"{most:.4f}")["rows"]}
    assert near == {name for name, margin in margins.items() if margin < most}
    assert 0 < len(near) < 20
    assert rows(client, round="1")["total"] == (table.columns["first_round"] == 1).sum()
    assert rows(client, q="\\")["total"] == rows(client, q="x" * 200)["total"] == 0


def test_a_list_keeps_its_rows_while_one_works_through_it(run):
    _, client = opened(run)
    before = rows(client, reviewed="todo")
    first = before["rows"][0]["id"]
    review(client, first)
    again = rows(client, reviewed="todo", lines=before["lines"])
    assert [r["id"] for r in again["rows"]] == [r["id"] for r in before["rows"]]
    assert again["rows"][0]["own"]["label"] == "anger" and not again["rows"][0]["todo"]
    assert first not in [r["id"] for r in rows(client, reviewed="todo")["rows"]]
    assert [r["id"] for r in rows(client, reviewed="done")["rows"]] == [first]
    assert rows(client)["todo"] == 1  # where to go on


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"order": "audio"}, "order must be one of recommended, next, suspects, id, "),
        ({"part": "test"}, "part must be one of pool, labeled, held-out, unused"),
        ({"round": "-1"}, "round must be a number, or never"),
        ({"margin": "inf"}, "margin must be a number from 0 to 1, such as 0.2"),
        ({"margin": "-1"}, "margin must be a number from 0 to 1, such as 0.2"),
        ({"q": "x" * 201}, "a search has at most 200 letters"),
        ({"first": "-1"}, "first must be a whole number, 0 or more"),
        ({"length": "many"}, "length must be a whole number, 0 or more"),
    ],
)
def test_an_odd_query_is_told_in_a_sentence(run, query, sentence):
    _, client = opened(run)
    answer = client.get("/api/rows", params=query)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(sentence)


def test_no_request_brings_more_than_a_page(run):
    _, client = opened(run)
    assert len(rows(client, length=10**6)["rows"]) <= PAGE
    assert rows(client, first=10**9)["rows"] == []


# --- sound ---


def test_a_sound_comes_whole_and_by_ranges(run):
    table, client = opened(run)
    name = rows(client)["rows"][0]["id"]
    whole = client.get("/audio", params={"id": name})
    assert whole.status_code == 200 and whole.headers["content-type"] == "audio/wav"
    assert whole.headers["accept-ranges"] == "bytes"
    samples, rate = soundfile.read(io.BytesIO(whole.content), dtype="float32")
    wanted = load_audio(table.columns["audio"][table.number[name]])
    assert rate == 16_000 and np.abs(samples - wanted).max() < 1e-4
    size = len(whole.content)
    for given, part in (("0-99", (0, 99)), ("100-", (100, size - 1)), ("-7", (size - 7, size - 1)),
                        (f"5-{size * 2}", (5, size - 1)), ("0-0", (0, 0))):  # fmt: skip
        answer = client.get("/audio", params={"id": name}, headers={"Range": f"bytes={given}"})
        assert answer.status_code == 206
        assert answer.headers["content-range"] == f"bytes {part[0]}-{part[1]}/{size}"
        assert answer.content == whole.content[part[0] : part[1] + 1]
        assert int(answer.headers["content-length"]) == len(answer.content)
    for given in (f"{size}-", "-0", f"{10**30}-"):
        answer = client.get("/audio", params={"id": name}, headers={"Range": f"bytes={given}"})
        assert answer.status_code == 416 and answer.content == b""
        assert answer.headers["content-range"] == f"bytes */{size}"
    for given in ("bytes=5-2", "bytes=0-1,3-4", "bytes=x", "items=0-1", "bytes=-", "bytes= 0-1x"):
        answer = client.get("/audio", params={"id": name}, headers={"Range": given})
        assert answer.status_code == 200 and answer.content == whole.content


def test_digits_of_other_scripts_are_no_range():
    assert asked_part("bytes=٠-٩", 100) is None


def test_a_sound_that_is_gone_is_told_in_its_row_and_the_others_play(heard, tmp_path):
    home = shutil.copytree(heard.parents[1], tmp_path / "home")
    (home / "audio" / "03a01Fa.opus").unlink()
    table = review_table(home / "runs" / "heard", [f"data.manifest={home}/m.csv"])
    client = TestClient(review_app(table, "t"), base_url="http://127.0.0.1:1", headers=HEADERS)
    answer = client.get("/audio?id=03a01Fa")
    assert answer.status_code == 404
    assert answer.json() == {"error": "this sound cannot be played: missing: no such file"}
    assert client.get("/audio?id=03a01Nc").status_code == 200
    assert client.get("/api/row?id=03a01Fa").json()["said"]


def test_a_part_of_a_long_file_and_an_odd_format_play_as_wav(tmp_path, store):
    """Rows with start and end; a float WAV of two channels at 44.1 kHz."""
    wave = np.stack([speech(6.0), speech(6.0)], 1)
    soundfile.write(tmp_path / "long.wav", wave, 44_100, subtype="DOUBLE")
    lines = ["id,audio,start,end,label,speaker"]
    for n in range(16):
        label = "" if n % 4 == 3 else "ab"[n % 2]
        lines.append(f"u{n},long.wav,{n * 0.1:.1f},{n * 0.1 + 0.5:.1f},{label},s{n % 4}")
    (tmp_path / "m.csv").write_text("\n".join(lines) + "\n")
    words = ["encoders.text.model=none", "data.test_fraction=0", "data.labeled_fraction=1.0",
             "rounds.max_rounds=0"]  # fmt: skip
    config = semi.load_config(None, [*run_settings(tmp_path, store), *words])
    semi.self_train(config, progress=False)
    _, client = opened(tmp_path / "runs" / "heard")
    for n in (0, 7, 15):
        answer = client.get(f"/audio?id=u{n}")
        samples, rate = soundfile.read(io.BytesIO(answer.content), dtype="float32")
        wanted = load_audio(tmp_path / "long.wav", start=n * 0.1, end=n * 0.1 + 0.5)
        assert rate == 16_000 and len(samples) == len(wanted) == 8000
        assert np.abs(samples - wanted).max() < 1e-4


# --- reviews ---


def test_a_run_that_learned_from_reviews_shows_their_labels_as_given(run, tmp_path, store):
    table, client = opened(run)
    names = [r["id"] for r in rows(client)["rows"][:3]]
    for name in names:
        review(client, name, "fear")
    home = run_settings(tmp_path, store)
    home = [w for w in home if not w.startswith("data.manifest")]
    words = [
        "data.labeled_fraction=0.5",
        "data.test_fraction=0.3",
        "data.allow_leaks=[text]",
        f"data.manifest={review_manifest(run)}",
        f"data.reviews={run / 'reviews.csv'}",
    ]
    semi.self_train(semi.load_config(None, [*home, *words]), progress=False)
    again, client = opened(tmp_path / "runs" / "heard")
    assert len(table) == len(again)
    for name in names:
        shown = client.get("/api/row", params={"id": name}).json()
        assert (shown["role"], shown["given"], shown["own"]) == ("labeled", "fear", None)


def review_manifest(run):
    return semi.load_config(run / "config.yaml").data.manifest


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


def test_texts_of_a_table_cannot_leave_their_place_in_the_page(run):
    from semi.review.page import json_in_html, render_page

    table = review_table(run)
    table.name = table.classes[0] = "</script><script>alert(1)</script>"
    page, _ = render_page(table, "<b>")
    assert "<script>alert" not in page and page.count("</script>") == 2
    assert json.loads(json_in_html({"a": "</script>\u2028&"})) == {"a": "</script>\u2028&"}


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
