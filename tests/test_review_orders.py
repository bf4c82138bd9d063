"""The recommended order: which rows come first, which are drawn at random, what a filter does."""

import numpy as np
import pandas as pd
import pytest
from spoken_run import copied

from semi.data.reviews import Review
from semi.review.history import History
from semi.review.query import Index, Query
from semi.review.recommended import DRAWN, EVERY, draw, recommended
from semi.review.rows import ReviewTable, review_table

CLASSES = ["a", "b", "c"]


def table_of(n=500, name="run", seed=0, roles=None, **columns):
    """Returns a table of made-up rows."""
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.ones(3), n).astype(np.float32)
    two = np.sort(probs, 1)[:, 1:].astype(float)
    text = {
        "id": [f"u{k:05d}" for k in range(n)], "speaker": [f"s{k % 7}" for k in range(n)],
        "role": roles or ["pool"] * n, "text": [f"word {k}" for k in range(n)], "group": [""] * n,
        "audio": [None] * n, "given": [None] * n, "reason": ["chosen"] * n,
        "said": np.array(CLASSES, dtype=object)[probs.argmax(1)],
    }  # fmt: skip
    numbers = {
        "confidence": probs.max(1).astype(float), "margin": two[:, 1] - two[:, 0],
        "flips": rng.integers(0, 3, n), "contradiction": np.zeros(n), "first_round": np.ones(n),
        "chosen": np.ones(n, dtype=bool), "start": np.full(n, np.nan), "end": np.full(n, np.nan),
    }  # fmt: skip
    cells = {k: np.array(v, dtype=object) for k, v in text.items()} | numbers | columns
    return ReviewTable(name, None, "single", CLASSES, cells, probs, probs, probs, {},
                       History({}, {}, np.zeros(n + 1, dtype=int)))  # fmt: skip


@pytest.mark.parametrize("n", [0, 1, 4, 5, 23, 500, 3000])
def test_every_pool_row_stands_once_and_one_in_five_is_random(n):
    table = table_of(n)
    order, is_random = recommended(table)
    assert sorted(order) == list(range(n))
    assert is_random.sum() == min(DRAWN, n // EVERY)
    places = np.flatnonzero(is_random)
    assert (places == np.arange(EVERY - 1, EVERY * len(places), EVERY)).all()
    margins = table.columns["margin"][order[~is_random]]
    assert (np.diff(margins) >= 0).all()


def test_the_draw_is_of_all_rows_alike():
    """Over many runs a row of a small margin is drawn as often as one of a great one."""
    margin = table_of(400).columns["margin"]
    drawn = [recommended(table_of(400, name=f"run {k}")) for k in range(60)]
    means = [margin[order[is_random]].mean() for order, is_random in drawn]
    spread = margin.std() / np.sqrt(60 * 80)
    assert abs(np.mean(means) - margin.mean()) < 4 * spread


def test_the_draw_depends_on_run_and_ids_alone():
    ids = [f"u{k}" for k in range(300)]
    one = np.array(ids)[draw("run", ids)]
    assert (one == np.array(ids[::-1])[draw("run", ids[::-1])]).all()
    assert (one != np.array(ids)[draw("other", ids)]).any()
    rest = [i for i in ids if i != one[3]]  # a row less moves none of the others
    assert np.array(rest)[draw("run", rest)].tolist() == [i for i in one if i != one[3]]


def test_held_out_and_given_rows_are_never_recommended():
    roles = (["pool", "labeled", "test", "dev", "unused"] * 100)[:500]
    table = table_of(500, roles=roles)
    order, _ = recommended(table)
    assert set(table.columns["role"][order]) == {"pool"} and len(order) == 100


def picks(index, query):
    return {index.pick(name, query) for name in index.columns["id"]}


def test_a_row_counts_as_random_only_where_nothing_was_filtered():
    index = Index(table_of(500))
    assert picks(index, Query()) == {"next", "random"}
    assert picks(index, Query(reviewed="todo")) == {"next", "random"}
    for query in (Query(machine="a"), Query(speaker="s1"), Query(q="word"), Query(chosen="yes"),
                  Query(flipped="no"), Query(round="1"), Query(contradicted="no"),
                  Query(margin="0.3"),
                  Query(part="labeled")):  # fmt: skip
        assert picks(index, query) == {"browse"}
    assert picks(index, Query(order="id")) == picks(index, Query(order="margin")) == {"browse"}
    assert picks(index, Query(order="suspects", part="labeled")) == {"suspect"}


def test_a_random_row_that_was_judged_elsewhere_is_still_to_do():
    """Else the rows that one looked for would be missing from the sample."""
    index = Index(table_of(500))
    drawn, worth = index.order[index.is_random][0], index.order[~index.is_random][0]
    names = index.columns["id"][[drawn, worth]].tolist()
    own = {name: Review(name, "label", "a", "Ada", pick="browse") for name in names}
    left = index.select(Query(reviewed="todo"), own, set())
    assert drawn in left and worth not in left
    assert drawn not in index.select(Query(reviewed="todo"), own, {names[0]})
    assert drawn not in index.select(Query(order="id", reviewed="todo"), own, set())


def test_an_order_with_unknown_values_puts_them_last():
    n = 50
    margin = np.where(np.arange(n) % 3 == 0, np.nan, np.arange(n) / n)
    index = Index(table_of(n, margin=margin))
    for descending in ("no", "yes"):
        rows = index.select(Query(order="margin", descending=descending), {}, set())
        values = margin[rows]
        assert len(rows) == n and np.isnan(values[-17:]).all()
        known = values[:-17] if descending == "no" else values[:-17][::-1]
        assert (np.diff(known) > 0).all()


# --- the files of semi next and semi suspects ---


def test_queues_are_read_where_they_are_there(heard, tmp_path):
    run = copied(heard, tmp_path)
    plain = Index(review_table(run))
    assert plain.table.queues == []
    assert len(plain.select(Query(order="next"), {}, set())) == 0
    splits = pd.read_csv(run / "splits.csv", dtype=str)
    pool = splits.loc[splits["role"] == "pool", "id"].tolist()
    gold = splits.loc[splits["role"] == "labeled", "id"].tolist()
    (run / "next.csv").write_text(
        "id,score,reason\n" + "".join(f"{i},0.5,why {k}\n" for k, i in enumerate(pool[4:8]))
        + "nobody,0,gone\n"
    )  # fmt: skip
    (run / "suspects.csv").write_text(f"rank,id,reason\n2,{gold[0]},x\n1,{gold[1]},'=y\n")
    table = review_table(run)
    index = Index(table)
    assert table.queues == ["next", "suspects"]
    assert table.notes == ["next.csv names 1 utterances that this run does not have"]
    rows = index.select(Query(order="next"), {}, set())
    assert table.columns["id"][rows].tolist() == pool[4:8]
    assert table.columns["next_why"][rows].tolist() == ["why 0", "why 1", "why 2", "why 3"]
    rows = index.select(Query(order="suspects", part="labeled"), {}, set())
    assert table.columns["id"][rows].tolist() == [gold[1], gold[0]]
    assert table.columns["suspects_why"][rows].tolist() == ["=y", "x"]
    assert {index.pick(name, Query(order="next")) for name in pool[4:8]} == {"next"}
    worth = index.order[~index.is_random]
    drawn = set(table.columns["id"][index.order[index.is_random]])
    wanted = [name for name in pool[4:8] if name not in drawn]
    assert table.columns["id"][worth][: len(wanted)].tolist() == wanted


def test_rows_that_semi_next_drew_at_random_count_as_random(heard, tmp_path):
    run = copied(heard, tmp_path)
    splits = pd.read_csv(run / "splits.csv", dtype=str)
    pool = splits.loc[splits["role"] == "pool", "id"].tolist()
    (run / "next.csv").write_text(
        "id,rank,score,pick,reason\n"
        f"{pool[2]},1,,random,drawn\n{pool[1]},2,0.1,next,x\n{pool[0]},3,0.2,next,y\n"
    )
    index = Index(review_table(run))
    picked = {name: index.pick(name, Query(order="next")) for name in pool[:3]}
    assert picked == {pool[0]: "next", pool[1]: "next", pool[2]: "random"}
    for query in (Query(order="next", q="0"), Query(order="next", chosen="yes")):
        assert index.pick(pool[2], query) == "next"
    own = {name: Review(name, "label", "anger", "Ada") for name in pool[1:3]}
    todo = index.select(Query(order="next", reviewed="todo"), own, set())
    assert index.columns["id"][todo].tolist() == [pool[2], pool[0]]
    first = index.columns["id"][index.order[~index.is_random]].tolist()
    wanted = [name for name in (pool[1], pool[0]) if name not in index.random]
    assert first[: len(wanted)] == wanted  # the random one is not worth more than others
