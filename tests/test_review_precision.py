"""The precision of pseudo-labels, by reviews of rows drawn at random."""

import math
import shutil

import pandas as pd
import pytest
from scipy.stats import binom
from starlette.testclient import TestClient
from test_review_orders import table_of

from semi.cli import main
from semi.data.reviews import Review, append_reviews
from semi.evaluation.reviewed_precision import (
    Precision,
    agreed,
    precision,
    precision_sentence,
    pseudo_labels,
)
from semi.files import read_json, write_json
from semi.review.server import review_app
from semi.self_training.report import report


def machine(**labels):
    return {name: frozenset(label.split(";")) for name, label in labels.items()}


def word(name, label, who="x", pick="random", verdict="label"):
    return Review(name, verdict, label, who, pick=pick)


@pytest.mark.parametrize("k, n", [(0, 1), (0, 50), (1, 7), (25, 50), (49, 50), (50, 50), (3, 400)])
def test_the_interval_is_wilsons(k, n):
    z, share = 1.959963984540054, k / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    found = Precision(k, n, 0)
    assert found.interval() == pytest.approx((max(middle - half, 0), min(middle + half, 1)))
    mirrored = Precision(n - k, n, 0).interval()
    assert found.interval() == pytest.approx((1 - mirrored[1], 1 - mirrored[0]))


@pytest.mark.parametrize("truth", [0.6, 0.8, 0.9])
def test_it_holds_the_truth_about_as_often_as_it_says(truth):
    ends = [Precision(k, 50, 0).interval() for k in range(51)]
    held = sum(
        binom.pmf(k, 50, truth) for k, (low, high) in enumerate(ends) if low <= truth <= high
    )
    assert 0.93 < held < 0.98


def test_nothing_reviewed_says_nothing():
    found = precision(machine(a="joy"), [])
    assert (found.rows, found.interval()) == (0, (0.0, 1.0)) and math.isnan(found.share)


def test_only_rows_drawn_at_random_of_those_learned_count():
    words = [word("a", "joy"), word("b", "calm"), word("c", "joy", pick="next"), word("d", "joy")]
    found = precision(machine(a="joy", b="joy", c="joy"), words)
    assert (found.right, found.rows, found.undecided) == (1, 2, 0)


def test_a_row_that_was_drawn_stays_drawn_when_somebody_comes_back_to_it():
    words = [word("a", "joy"), word("a", "calm", pick="browse"), word("b", "joy", pick="browse"),
             word("b", "joy", "y")]  # fmt: skip
    found = precision(machine(a="joy", b="joy"), words)
    assert (found.right, found.rows) == (1, 2)


def test_what_was_taken_back_does_not_count():
    words = [word("a", "joy"), word("a", "", verdict="undo")]
    assert precision(machine(a="joy"), words).rows == 0


@pytest.mark.parametrize("words, truth", [
    (["joy"], "joy"), (["joy", "joy", "calm"], "joy"), (["joy", "calm"], None),
    (["joy", ""], None), (["joy", "joy", ""], "joy"), (["", ""], None), (["joy;calm"], None),
])  # fmt: skip
def test_what_a_row_is_is_what_most_reviewers_say(words, truth):
    given = [word("a", label, str(k), verdict="label" if label else "unsure")
             for k, label in enumerate(words)]  # fmt: skip
    assert agreed(given) == (truth and frozenset([truth]))
    found = precision(machine(a="joy"), given)
    assert (found.rows, found.undecided) == ((1, 0) if truth else (0, 1))


def test_several_labels_must_all_agree():
    words = [word("a", "calm;joy"), word("b", "joy")]
    found = precision(machine(a="joy;calm", b="joy;calm"), words, several=True)
    assert (found.right, found.rows) == (1, 2)


@pytest.fixture
def path(runs, tmp_path):
    """A copy of run a as if its first round shipped and had learned 250 rows as joy."""
    path = tmp_path / "a"
    shutil.copytree(runs[0], path)
    ledger = pd.read_parquet(path / "ledger.parquet")
    ledger = pd.concat([ledger.assign(id=[f"{i}-{k}" for i in ledger["id"]]) for k in range(9)])
    ledger = ledger.assign(accepted=[k < 250 for k in range(len(ledger))], label="joy", round=1)
    ledger.to_parquet(path / "ledger.parquet")
    result = read_json(path / "result.json")
    write_json(path / "result.json", result | {"best_round": 1})
    return path


def review(path, count, wrong):
    names = list(pseudo_labels(path, 1))[:count]
    assert len(names) == count
    labels = ["calm"] * wrong + ["joy"] * (count - wrong)
    append_reviews(path / "reviews.csv", map(word, names, labels))


def test_a_run_says_how_many_are_lacking(path, capsys):
    assert precision_sentence(path) == ""
    assert precision_sentence(path, asked=True).startswith("0 of the 50 reviews of random rows")
    review(path, 4, wrong=1)
    lacking = (
        "4 of the 50 reviews of random rows from which the precision of the pseudo-labels is "
        "stated: 46 more are needed"
    )
    assert precision_sentence(path) == lacking
    assert main(["review", str(path), "--precision"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("pseudo-labels of round 1: 75.0 % right, 95 % interval [30.1, 95.4], by")
    assert said.endswith(f"; {lacking}\n")


def test_from_fifty_on_it_is_stated_unasked(path):
    review(path, 50, wrong=10)
    assert precision_sentence(path) == (
        "pseudo-labels of round 1: 80.0 % right, 95 % interval [67.0, 88.8], by reviews of 50 rows "
        "drawn at random of 250"
    )


def test_a_warm_start_has_no_pseudo_labels(path):
    review(path, 1, wrong=0)
    result = read_json(path / "result.json")
    write_json(path / "result.json", result | {"best_round": 0})
    assert precision_sentence(path) == ""
    assert precision_sentence(path, asked=True).startswith("no pseudo-label ships")


def test_the_report_says_it_and_what_of_it_is_damaged(path):
    review(path, 50, wrong=10)
    text = report(path).read_text()
    assert "By people's reviews: pseudo-labels of round 1: 80.0 % right, 95 % interval" in text
    (path / "reviews.csv").write_text("no list")
    assert "By people's reviews: they cannot be told (" in report(path).read_text()


def test_the_page_says_it_from_fifty_random_rows_on(tmp_path):
    table = table_of(600)
    table.path = tmp_path
    client = TestClient(review_app(table, "t"), base_url="http://127.0.0.1:1",
                        headers={"X-Review-Token": "t"})  # fmt: skip
    listed = client.get("/api/rows", params={"length": "100"}).json()["rows"]
    listed += client.get("/api/rows", params={"length": "100", "first": "100"}).json()["rows"]
    listed += client.get("/api/rows", params={"length": "100", "first": "200"}).json()["rows"]
    stated = ""
    for k, row in enumerate(listed[4:250:5]):
        other = next(c for c in table.classes if c != row["said"])
        label = other if k < 10 else row["said"]
        answer = client.post("/api/reviews", json={"id": row["id"], "verdict": "label",
                                                   "label": label, "reviewer": "Ada"})  # fmt: skip
        assert answer.json()["saved"]["pick"] == "random"
        assert not stated
        stated = answer.json()["progress"]["precision"]
    assert stated == (
        "80.0 % right, 95 % interval [67.0, 88.8], by reviews of 50 rows drawn at random of 600"
    )
    taken = client.post("/api/undo", json={"reviewer": "Ada"}).json()["progress"]
    assert taken["random"] == 49 and not taken["precision"]
