"""Batches in strata: every speaker and class has its share, and what is left to the rule."""

import dataclasses

import pytest
import torch
from test_acquisition import some_pool

from semi.review.acquisition import RULES, pick
from semi.review.batch_choice import chosen_rows
from semi.review.strata import allocated, by_class, by_speaker


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("share", [[1, 1, 1], [50, 30, 19, 1], [3], [1e6, 1], [0, 2, 0, 5]])
@pytest.mark.parametrize("count", [1, 7, 20])
def test_shares_are_rounded_to_a_neighbour_and_fair_in_the_mean(share, count):
    share = torch.tensor(share, dtype=torch.float64)
    fair = share / share.sum() * count
    due = torch.stack([allocated(share, count, drawn(seed)) for seed in range(600)])
    assert set(due.sum(1).tolist()) == {count}
    assert bool((due >= (fair - 1e-9).floor()).all() and (due <= (fair + 1e-9).ceil()).all())
    assert due.double().mean(0).tolist() == pytest.approx(fair.tolist(), abs=0.1)


def test_lone_rows_are_one_stratum():
    pool = some_pool(rows=40)
    pool.group = torch.cat([torch.zeros(10), torch.ones(10), torch.arange(2, 22)]).long()
    strata = by_speaker(pool, 8, drawn())
    assert torch.bincount(strata.code).tolist()[:2] == [10, 10]
    assert len(set(strata.code[20:].tolist())) == 1
    due = [int(strata.due[strata.code[row]]) for row in (0, 10, 20)]
    assert due == [2, 2, 4]
    for row in (0, 5):
        strata.take(row)
    assert strata.served().tolist() == [True] * 10 + [False] * 30


def test_classes_that_gold_has_too_few_of_are_due_first():
    pool = some_pool(rows=90)
    pool.probs = torch.eye(3)[torch.arange(90) % 3]
    pool.gold_count = torch.tensor([12.0, 2.0, 1.0])
    none, some, more = by_class(pool, 12, drawn()).due.tolist()
    assert none == 0 and some in (5, 6) and more in (6, 7) and some + more == 12
    pool.gold_count = torch.tensor([5.0, 5.0, 5.0])
    assert by_class(pool, 12, drawn()).due.tolist() == [4, 4, 4]


def telling_pool(seed=0):
    """Returns a pool in which every speaker has one class, and the model doubts one class alone."""
    pool = some_pool(rows=120, seed=seed, groups=6)
    truth = pool.group % 3
    pool.probs = torch.full((120, 3), 1 / 3)
    pool.probs[truth != 0] = torch.eye(3)[truth[truth != 0]] * 0.97 + 0.01
    pool.gold_count = torch.full((3,), 2.0)
    return pool, truth


def test_speakers_and_classes_have_their_shares_where_a_rule_alone_sees_what_is_hard():
    pool, truth = telling_pool()
    hard = torch.bincount(truth[pick(pool, "badge", 24)[0]], minlength=3)
    assert hard[0] >= 16
    rows = pick(pool, "stratified", 24)[0]
    assert torch.bincount(truth[rows]).tolist() == [8, 8, 8]
    assert torch.bincount(pool.group[rows]).tolist() == [4] * 6


def test_within_its_stratum_the_row_that_teaches_most_is_taken():
    pool = some_pool(rows=60, groups=3)
    pool.probs[:] = torch.tensor([0.999, 0.0005, 0.0005])
    hard = torch.tensor([0, 1, 2, 3, 4, 5])  # two of each speaker
    pool.probs[hard] = torch.tensor([0.36, 0.32, 0.32])
    assert sorted(pick(pool, "stratified", 6)[0].tolist()) == hard.tolist()


def test_a_model_that_is_sure_of_all_leaves_shares_and_chance():
    pool, truth = telling_pool()
    pool.probs = torch.eye(3)[truth]
    batches = [pick(pool, "stratified", 12, seed=seed)[0] for seed in (0, 1)]
    assert [torch.bincount(truth[rows]).tolist() for rows in batches] == [[4, 4, 4]] * 2
    assert set(batches[0].tolist()) != set(batches[1].tolist())


def test_of_several_labels_speakers_alone_have_shares():
    pool = some_pool(multi=True)
    rows = pick(pool, "stratified", 12)[0]
    assert torch.bincount(pool.group[rows]).tolist() == [2] * 6


@pytest.mark.parametrize("rule", [r for r in RULES if r != "random"])
@pytest.mark.parametrize("limit", [None, 2, 3])
def test_a_batch_has_a_fifth_at_random_and_heeds_the_limit_on_speakers(rule, limit):
    pool = some_pool()
    pool.group = torch.cat([torch.zeros(40), torch.ones(10), torch.full((10,), 2)]).long()
    fresh = torch.ones(60, dtype=torch.bool)
    found = chosen_rows(pool, fresh, rule, 15, per_speaker=limit)
    mine = torch.bincount(pool.group[found.rows[~found.at_random]], minlength=3)
    assert int(found.at_random.sum()) == 3
    most = limit or (9 if rule == "stratified" else 8)
    assert mine.max() <= most
    if rule == "stratified" and limit is None:  # in proportion to what is there
        assert mine[0] >= 7 and mine.min() >= 1


def test_what_is_drawn_at_random_does_not_depend_on_the_rule():
    pool = some_pool()
    known = dataclasses.replace(pool, probs=pool.probs.roll(1, 0))
    fresh = torch.arange(60) % 4 > 0
    draws = {
        tuple(found.rows[found.at_random].tolist())
        for found in (chosen_rows(p, fresh, r, 20) for p in (pool, known) for r in RULES[1:6])
    }
    assert len(draws) == 1
    rows = chosen_rows(pool, fresh, "stratified", 20)
    assert bool(fresh[rows.rows[~rows.at_random]].all())
