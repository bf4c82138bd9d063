"""The steps around a selection rule: averaging, alignment, agreement, quota, bound, targets."""

from dataclasses import replace

import pytest
import torch
from selection_pools import make_pool

from pseudo_label import SelectionConfig, cap_mass, select
from pseudo_label.pool import quotas


def test_averaging_over_rounds_is_bias_corrected():
    a, b = make_pool(seed=1), make_pool(seed=2)
    config = SelectionConfig(temporal=0.5)
    first = select(a, config)
    assert torch.allclose(first.probs, a.probs, atol=1e-6)
    second = select(replace(b, state=first.state, round=2), config)
    assert torch.allclose(second.probs, (0.25 * a.probs + 0.5 * b.probs) / 0.75, atol=1e-6)
    alone = select(replace(b, state=first.state), SelectionConfig(temporal=0.0))
    assert torch.equal(alone.probs, b.probs)


def test_a_pool_that_changed_between_rounds_is_refused():
    state = select(make_pool(), SelectionConfig()).state
    with pytest.raises(ValueError, match="the pool's rows must not change between rounds"):
        select(make_pool(20, state=state), SelectionConfig())


def test_alignment_brings_the_mean_to_the_target():
    pool = make_pool(5000)
    plain = select(pool, SelectionConfig(align_gamma=None)).probs.mean(0)
    aligned = select(pool, SelectionConfig(align_gamma=1.0)).probs.mean(0)
    assert (aligned - pool.prior).abs().sum() < 0.5 * (plain - pool.prior).abs().sum()


def test_soft_agreement_averages_the_views_a_row_has():
    pool = make_pool()
    config = SelectionConfig()
    config.agreement.mode = "soft"
    seen = select(pool, config).probs
    row = int((pool.present[:, 0] & ~pool.present[:, 1]).nonzero()[0])
    assert torch.allclose(seen[row], (pool.probs[row] + pool.by_modality[0, row]) / 2)


def test_quota_caps_a_rule_that_has_none():
    pool = make_pool()
    config = SelectionConfig(rule="softmatch", quota=True)
    selection = select(pool, config)
    taken = torch.bincount(selection.label[selection.chosen], minlength=4)
    assert (taken <= quotas(0.3, 300, pool.prior)).all() and taken.sum() > 0
    assert "over_quota" in selection.words()


def test_precision_target_removes_what_gold_cannot_certify():
    pool = make_pool(classes=4, gold=600)
    free = select(pool, SelectionConfig(rule="soft_allocation"))
    capped = select(pool, SelectionConfig(rule="soft_allocation", precision_target=0.8))
    assert free.chosen.all() and 0 < capped.chosen.sum() < 300
    assert (pool.predicted == capped.label)[capped.chosen].all()
    assert any("precision 0.8" in note for note in capped.notes)
    assert "not_certified" in capped.words()


def test_precision_target_with_few_rows_promises_nothing_and_says_so():
    pool = make_pool(gold=16)
    selection = select(pool, SelectionConfig(precision_target=0.9))
    assert not selection.chosen.any()
    assert "needs at least 29 correct out-of-fold rows" in selection.notes[-1]


@pytest.mark.parametrize("rule", ["class_topk", "soft_allocation", "softmatch"])
def test_targets_and_weights_as_configured(rule):
    pool = make_pool()

    def run(**keys):
        return select(pool, SelectionConfig(rule=rule, **keys))

    hard = run(targets="hard")
    assert torch.equal(hard.target.max(1).values, torch.ones(300))
    smooth = run(targets="hard", smoothing=0.1)
    assert torch.allclose(smooth.target.max(1).values, torch.full((300,), 0.925))
    soft, sharp = run(targets="soft"), run(targets="sharpened", temperature=0.5)
    squared = soft.target**2 / (soft.target**2).sum(1, keepdim=True)
    assert torch.allclose(sharp.target, squared, atol=1e-5)
    chosen = hard.chosen
    assert (run(weights="uniform").weight[chosen] == 1).all()
    best = pool.probs.topk(2, 1).values
    margin = (best[:, 0] - best[:, 1]).clamp(0.2, 1)
    assert torch.allclose(run(weights="margin", weight_floor=0.2).weight[chosen], margin[chosen])
    confidence = run(weights="confidence").weight[chosen]
    expected = pool.probs.gather(1, hard.label[:, None])[:, 0].clamp(0.1, 1)[chosen]
    assert torch.equal(confidence, expected)


def test_mass_cap_scales_down_and_never_up():
    weight = torch.tensor([0.5, 1.0, 0.0, 0.5])
    assert torch.equal(cap_mass(weight, 10.0, 2.0), weight)
    capped = cap_mass(weight, 0.5, 2.0)
    assert torch.allclose(capped, weight / 2)
    assert torch.equal(cap_mass(weight * 0, 0.5, 2.0), weight * 0)
