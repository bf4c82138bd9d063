"""Acquisition rules: against slow loops written from the papers, and for what no rule may break."""

import dataclasses

import pytest
import torch

from semi.review import batch_rules
from semi.review.acquisition import RULES, pick
from semi.review.clusters import k_means, nearest_distance
from semi.review.query_pool import QueryPool, seeded_order
from semi.review.row_rules import ROW_RULES, committee, disagreement, entropy, flips, margin


def some_pool(rows=60, seed=0, classes=3, gold=7, groups=6, multi=False):
    draw = torch.Generator().manual_seed(seed)

    def answers(*shape):
        logits = torch.randn(*shape, classes, generator=draw)
        return logits.sigmoid() if multi else logits.softmax(-1)

    return QueryPool(
        probs=answers(rows),
        features=torch.randn(rows, 5, generator=draw),
        gold_features=torch.randn(gold, 5, generator=draw),
        gold_count=torch.full((classes,), gold / classes),
        group=torch.arange(rows) % groups,
        tie=torch.randint(1 << 62, (rows,), generator=draw),
        cost=torch.ones(rows),
        chains=answers(4, rows),
        by_modality=answers(2, rows),
        present=torch.rand(rows, 2, generator=draw) > 0.2,
        flips=torch.randint(4, (rows,), generator=draw).float(),
        multi=multi,
    )


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("multi", [False, True])
def test_the_order_of_rows_plays_no_part(rule, multi):
    pool = some_pool(multi=multi)
    if multi and rule == "output_change":
        with pytest.raises(ValueError, match="of which a row has one"):
            pick(pool, rule, 12)
        return
    pool.probs[10:20], pool.features[10:20] = pool.probs[0].clone(), pool.features[0].clone()
    pool.flips = torch.ones(len(pool))
    moved = torch.randperm(len(pool), generator=torch.Generator().manual_seed(3))
    for seed in (0, 1):
        rows, values = pick(pool, rule, 12, per_group=4, seed=seed)
        again, others = pick(pool.at(moved), rule, 12, per_group=4, seed=seed)
        assert pool.tie[rows].tolist() == pool.at(moved).tie[again].tolist()
        assert values.tolist() == others.tolist()
        assert len(set(rows.tolist())) == 12 and bool((values >= 0).all())
        assert torch.bincount(pool.group[rows]).max() <= 4


@pytest.mark.parametrize("rule", RULES)
def test_rows_that_may_not_be_taken_play_no_part(rule):
    pool, some = some_pool(), torch.arange(5, 60, 2)
    rows, values = pick(pool, rule, 9, among=some, seed=1)
    alone, same = pick(pool.at(some), rule, 9, seed=1)
    assert rows.tolist() == some[alone].tolist() and values.tolist() == same.tolist()


@pytest.mark.parametrize("rule", RULES)
def test_no_rows_one_row_one_class_and_more_than_there_are(rule):
    nothing = some_pool().at(torch.tensor([], dtype=torch.int64))
    assert [len(x) for x in pick(nothing, rule, 5)] == [0, 0]
    one = some_pool().at(torch.tensor([3]))
    assert pick(one, rule, 5)[0].tolist() == [0]
    alike = dataclasses.replace(some_pool(rows=9), features=torch.zeros(9, 5))
    assert sorted(pick(alike, rule, 50)[0].tolist()) == list(range(9))
    without = dataclasses.replace(some_pool(), gold_features=torch.zeros(0, 5))
    assert len(pick(without, rule, 5)[0]) == 5


@pytest.mark.parametrize("rule", RULES)
def test_seconds_are_spent_and_not_overspent(rule):
    pool = some_pool()
    pool.cost = torch.linspace(0.5, 9, len(pool))
    rows, _ = pick(pool, rule, 40)
    left = 40 - float(pool.cost[rows].sum())
    assert 0 <= left < float(pool.cost.max())
    others = torch.ones(len(pool), dtype=torch.bool)
    others[rows] = False
    assert left < float(pool.cost[others].min())  # nothing more could be paid for
    assert not len(pick(pool, rule, 0.1)[0])


def test_of_two_rows_of_one_worth_the_cheaper_is_taken():
    pool = some_pool(rows=2)
    pool.probs = torch.tensor([[0.5, 0.4, 0.1], [0.5, 0.4, 0.1]])
    for dear in (0, 1):
        pool.cost = torch.ones(2)
        pool.cost[dear] = 3
        assert pick(pool, "margin", 3)[0].tolist()[0] == 1 - dear


def test_row_rules_are_what_their_papers_say():
    pool = some_pool()
    assert pool.present is not None and pool.by_modality is not None
    assert pool.chains is not None and pool.flips is not None
    for i in range(len(pool)):
        p = sorted(pool.probs[i].tolist())
        assert margin(pool)[i] == pytest.approx(1 - (p[-1] - p[-2]), abs=1e-6)
        assert entropy(pool)[i] == pytest.approx(-sum(x * torch.log(torch.tensor(x)) for x in p))
        said = [pool.by_modality[m, i] for m in range(2) if pool.present[i, m]]
        apart = sum(entropy_of(p) for p in said) / max(len(said), 1)
        whole = entropy_of(sum(said) / len(said)) if said else 0.0
        assert disagreement(pool)[i] == pytest.approx(whole - apart, abs=1e-5)
        whole = entropy_of(pool.chains[:, i].mean(0))
        apart = sum(entropy_of(p) for p in pool.chains[:, i]) / 4
        assert committee(pool)[i] == pytest.approx(whole - apart, abs=1e-5)
    order = flips(pool).argsort(descending=True)
    assert pool.flips[order].tolist() == sorted(pool.flips.tolist(), reverse=True)


def entropy_of(p):
    return float(-(p * p.log()).sum())


def test_several_labels_are_as_unsure_as_their_least_decided_class():
    pool = some_pool(rows=2, multi=True)
    pool.probs = torch.tensor([[0.9, 0.5, 0.1], [0.9, 0.7, 0.1]])
    assert margin(pool).tolist() == pytest.approx([1.0, 0.6], abs=1e-6)
    assert entropy(pool)[0] > entropy(pool)[1]


def test_core_set_takes_the_row_farthest_from_all_that_is_known():
    pool = some_pool()
    known, taken = pool.gold_features, []
    for row in pick(pool, "core_set", 10)[0].tolist():
        far = torch.cdist(pool.features, known).amin(1)
        assert far[row] == pytest.approx(float(far.max()), abs=1e-5)
        known, taken = torch.cat([known, pool.features[row][None]]), [*taken, row]


def test_badge_is_k_means_plus_plus_over_written_down_gradients():
    """The distances that it draws by are those of the embeddings, which it never makes."""
    pool = some_pool()
    draw = torch.Generator().manual_seed(0)
    values = batch_rules.badge(pool, 5, draw)
    error = pool.probs - torch.nn.functional.one_hot(pool.probs.argmax(1), 3)
    x = torch.cat([pool.features, torch.ones(len(pool), 1)], 1)
    gradient = (error[:, :, None] * x[:, None]).flatten(1)
    assert torch.allclose(values(None), gradient.square().sum(1), atol=1e-5)
    own = torch.Generator().manual_seed(0)
    taken = [3, 17]
    for place, last in enumerate(taken, 1):
        centres = torch.cat([torch.zeros(1, 18), gradient[taken[:place]]])  # learned rows: 0
        near = torch.cdist(gradient, centres).amin(1).square()
        expected = near / torch.empty(len(pool)).exponential_(generator=own)
        assert torch.allclose(values(last), expected, rtol=1e-3, atol=1e-3)


def test_probcover_covers_most_rows_of_the_dense_part_first():
    pool = some_pool(rows=40, gold=2)
    pool.features[:30] *= 0.05
    pool.gold_features += 50
    assert pick(pool, "probcover", 1)[0].tolist()[0] < 30


def test_typiclust_begins_in_the_largest_cluster_without_a_label():
    pool = some_pool(rows=60, gold=4)
    where = torch.tensor([[0.0] * 5, [20.0] * 5, [-20.0] * 5])
    part = torch.tensor([0] * 30 + [1] * 20 + [2] * 10)
    pool.features = pool.features * 0.1 + where[part]
    pool.gold_features = pool.features[:4].clone()  # the largest has labels
    pool.gold_count = torch.ones(3)
    first = [part[pick(pool, "typiclust", 2, seed=s)[0][0]].item() for s in range(5)]
    assert set(first) <= {1, 2}


def test_rules_that_compare_all_rows_look_at_some_of_a_large_pool(monkeypatch):
    monkeypatch.setattr(batch_rules, "MOST_COMPARED", 50)
    pool = some_pool(rows=200)
    for rule in ("typiclust", "probcover"):
        assert len(pick(pool, rule, 10)[0]) == 10
        assert len(pick(pool, rule, 120)[0]) == 120  # the rest comes when these are through


def test_every_seed_has_an_order_of_its_own():
    tie = some_pool().tie
    orders = {tuple(seeded_order(tie, seed).tolist()) for seed in range(20)}
    assert len(orders) == 20
    same = tie[seeded_order(tie, 5)]
    assert torch.equal(tie.flip(0)[seeded_order(tie.flip(0), 5)], same)


def test_what_a_rule_needs_and_is_not_there_is_said():
    pool = dataclasses.replace(some_pool(), by_modality=None, present=None, chains=None, flips=None)
    for rule, words in (("disagreement", "modalities"), ("committee", "folds"), ("flips", "round")):
        with pytest.raises(ValueError, match=words):
            ROW_RULES[rule](pool)


def test_k_means_finds_parts_and_distances_are_the_nearest():
    draw = torch.Generator().manual_seed(0)
    part = torch.arange(90) % 3
    x = torch.randn(90, 4, generator=draw) * 0.1 + 10 * part[:, None]
    code, centers = k_means(x, 3, draw)
    assert len({(int(a), int(b)) for a, b in zip(code, part, strict=True)}) == 3
    assert len(k_means(torch.zeros(5, 2), 3, draw)[1]) == 1  # rows alike are one cluster
    assert torch.allclose(nearest_distance(x, centers), torch.cdist(x, centers).amin(1))


def test_output_change_is_that_of_class_means_moved_by_hand():
    """Against a loop over Mahalanobis distances to the old and the moved means."""
    pool = some_pool(rows=12)
    value = batch_rules.output_change(pool, 3, torch.Generator())(None)
    x, p = pool.features.double(), pool.probs.double()
    mean = (p.T @ x) / p.sum(0)[:, None]
    scatter = torch.stack([
        p[i, c] * torch.outer(x[i] - mean[c], x[i] - mean[c]) for i in range(12) for c in range(3)
    ]).sum(0) / 12  # fmt: skip
    scatter = 0.2 * scatter + 0.8 * scatter.diagonal().mean() * torch.eye(5)
    inverse = torch.linalg.inv(scatter)
    mass = p.sum(0) + batch_rules.GOLD_WEIGHT * pool.gold_count
    for i in (0, 5, 11):
        total = 0.0
        for c in p[i].topk(2).indices.tolist():
            truth = torch.eye(3)[c]
            step = (truth - p[i]) * batch_rules.GOLD_WEIGHT / mass
            moved = mean + step[:, None] * (x[i] - mean)
            for j in range(12):
                far = [torch.stack([(x[j] - m) @ inverse @ (x[j] - m) for m in part])
                       for part in (mean, moved)]  # fmt: skip
                after = (p[j].log() - (far[1] - far[0]) / 2).softmax(0)
                total += float(p[i, c] * (after - p[j]).abs().sum() / 2)
        assert float(value[i]) == pytest.approx(total, rel=1e-3)
