"""The lists of the review page: what they show, in which order, and what they refuse."""

import json

import numpy as np
import pandas as pd
import pytest
from review_client import opened, review, rows
from spoken_run import copied, run_settings

import semi
from semi.review.rows import review_table
from semi.review.server import PAGE


@pytest.fixture
def run(heard, tmp_path):
    return copied(heard, tmp_path)


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


def test_texts_of_a_table_cannot_leave_their_place_in_the_page(run):
    from semi.review.page import json_in_html, render_page

    table = review_table(run)
    table.name = table.classes[0] = "</script><script>alert(1)</script>"
    page, _ = render_page(table, "<b>")
    assert "<script>alert" not in page and page.count("</script>") == 2
    assert json.loads(json_in_html({"a": "</script>\u2028&"})) == {"a": "</script>\u2028&"}
