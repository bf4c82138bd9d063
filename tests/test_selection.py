"""Laws of every selection rule, and the small steps that rules share."""

import copy
from dataclasses import replace

import pytest
import torch
from selection_pools import assert_well_formed, make_pool, permuted

from pseudo_label import RULES, SelectionConfig, select
from pseudo_label.pool import quotas, rank_in_class


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_gives_a_whole_selection_for_any_pool(rule):
    config = SelectionConfig(rule=rule)
    for rows, classes in [(300, 4), (0, 4), (40, 1), (1, 3), (2, 2)]:
        pool = make_pool(rows, classes)
        assert_well_formed(select(pool, config), pool)
        assert_well_formed(RULES[rule](pool, config), pool)  # and without the steps around it


@pytest.mark.parametrize("rule", RULES)
def test_no_rule_depends_on_the_order_of_the_rows(rule):
    pool = make_pool()
    pool.probs[:60] = pool.probs[60:120]  # equal confidences, told apart by `tie`
    pool.features[:60] = pool.features[60:120]
    order = torch.randperm(300, generator=torch.Generator().manual_seed(1))
    config = SelectionConfig(rule=rule)
    plain, shuffled = select(pool, config), select(permuted(pool, order), config)
    assert torch.equal(shuffled.chosen, plain.chosen[order])
    assert torch.equal(shuffled.label, plain.label[order])
    assert torch.allclose(shuffled.weight, plain.weight[order], atol=1e-5)
    assert torch.allclose(shuffled.target, plain.target[order], atol=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_is_pure_and_its_state_comes_back(rule):
    pool = make_pool()
    before = copy.deepcopy(pool)
    config = SelectionConfig(rule=rule)
    first = select(pool, config)
    again = select(pool, config)
    assert torch.equal(first.chosen, again.chosen) and torch.equal(first.weight, again.weight)
    for name in ("probs", "prior", "members", "by_modality"):
        assert torch.equal(getattr(pool, name), getattr(before, name))
    assert pool.state == {}
    assert all(isinstance(v, torch.Tensor) for v in first.state.values())
    second = select(replace(pool, state=first.state, round=2), config)
    assert_well_formed(second, pool)
    assert set(second.state) >= set(first.state)


@pytest.mark.parametrize("rule", RULES)
def test_no_rule_takes_a_row_that_may_not_be_taken(rule):
    pool = make_pool(eligible=torch.arange(300) % 2 == 0)
    selection = select(pool, SelectionConfig(rule=rule))
    assert not selection.chosen[1::2].any()


def test_stored_bf16_probabilities_change_only_rows_at_the_boundary():
    pool = make_pool(2000)
    exact = select(pool, SelectionConfig())
    rounded = select(replace(pool, probs=pool.probs.bfloat16()), SelectionConfig())
    differ = exact.chosen != rounded.chosen
    distance = (pool.confidence - exact.threshold[exact.label]).abs()
    assert differ.float().mean() < 0.02
    assert (distance[differ] < 0.01).all()


def test_the_last_round_of_coverage_repeats():
    config = SelectionConfig(coverage=[0.2, 0.4])
    assert [config.rate(r) for r in (1, 2, 3, 9)] == [0.2, 0.4, 0.4, 0.4]


def test_quota_is_not_one_too_many_by_rounding():
    assert quotas(0.3, 1000, torch.tensor([0.1, 0.9])).tolist() == [30, 270]
    assert quotas(0.3, 0, torch.tensor([0.5, 0.5])).tolist() == [0, 0]


def test_rank_in_class_equals_sorting_each_class():
    g = torch.Generator().manual_seed(0)
    score = (torch.randn(400, generator=g) * 4).round() / 4  # many ties, negative values, zeros
    label = torch.randint(0, 5, (400,), generator=g)
    allowed = torch.rand(400, generator=g) < 0.8
    tie = torch.randperm(400, generator=g)
    rank = rank_in_class(score, label, allowed, tie)
    for c in range(5):
        rows = [i for i in range(400) if label[i] == c and allowed[i]]
        rows.sort(key=lambda i: (-float(score[i]), int(tie[i])))
        assert rank[rows].tolist() == list(range(len(rows)))
