"""Laws of every selection rule and of the steps around them."""

import copy
from dataclasses import replace

import pytest
import torch

from pseudo_label import REASONS, RULES, Gold, Pool, SelectionConfig, cap_mass, preview, select
from pseudo_label.pool import quotas, rank_in_class
from pseudo_label.rules.agreement import AgreementConfig

CLASSES = ["anger", "calm", "fear", "joy"]


def probabilities(*shape, generator, sharpness=2.0):
    return (sharpness * torch.randn(*shape, generator=generator)).softmax(-1)


def make_pool(rows=300, classes=4, gold=120, seed=0, **change):
    """A pool with every kind of view, confidences that mean something, skewed classes."""
    g = torch.Generator().manual_seed(seed)
    truth = torch.randint(0, classes, (gold,), generator=g)
    gold_probs = probabilities(gold, classes, generator=g)
    gold_probs = (gold_probs + 1.5 * torch.nn.functional.one_hot(truth, classes)) / 2.5
    values = {
        "probs": probabilities(rows, classes, generator=g),
        "prior": (torch.arange(classes) + 1.0) / sum(range(classes + 1)),
        "tie": torch.randperm(max(rows, 1), generator=g)[:rows],
        "by_modality": probabilities(2, rows, classes, generator=g),
        "present": torch.rand(rows, 2, generator=g) < 0.8,
        "members": probabilities(3, rows, classes, generator=g, sharpness=1.0),
        "external": probabilities(1, rows, classes, generator=g),
        "features": torch.randn(rows, 6, generator=g),
        "group": torch.randint(-1, 4, (rows,), generator=g),
        "gold": Gold(
            probs=gold_probs,
            label=truth,
            by_modality=probabilities(2, gold, classes, generator=g),
            features=torch.randn(gold, 6, generator=g),
            group=torch.randint(0, 4, (gold,), generator=g),
        ),
        "rate": 0.3,
    }
    return Pool(**(values | change))


def permuted(pool, order):
    def rows(x, axis=0):
        return None if x is None else x.index_select(axis, order)

    return replace(
        pool,
        probs=rows(pool.probs),
        tie=rows(pool.tie),
        by_modality=rows(pool.by_modality, 1),
        present=rows(pool.present),
        members=rows(pool.members, 1),
        external=rows(pool.external, 1),
        features=rows(pool.features),
        group=rows(pool.group),
        eligible=rows(pool.eligible),
        state={},
    )


def assert_well_formed(selection, pool):
    rows, classes = pool.probs.shape
    assert selection.chosen.shape == (rows,) and selection.chosen.dtype == torch.bool
    assert selection.label.shape == (rows,) and selection.label.dtype == torch.int64
    assert selection.target.shape == (rows, classes)
    assert selection.threshold.shape == (classes,)
    assert selection.reason.dtype == torch.int8
    for x in (selection.target, selection.weight, selection.threshold):
        assert x.isfinite().all()
    assert (selection.weight[~selection.chosen] == 0).all()
    assert (selection.weight >= 0).all() and (selection.weight <= 1).all()
    assert torch.allclose(selection.target.sum(1), torch.ones(rows), atol=1e-5)
    assert ((selection.reason == 0) == selection.chosen).all()
    assert set(selection.words()) <= set(REASONS)


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


def test_preview_counts_what_would_be_added():
    pool = make_pool(classes=4)
    selection = select(pool, SelectionConfig())
    seen = preview(selection, pool)
    assert seen.chosen == int(selection.chosen.sum()) and seen.rows == 300
    assert sum(c.chosen for c in seen.classes) == seen.chosen
    assert seen.expected == pytest.approx(float(pool.confidence[selection.chosen].mean()), abs=1e-6)
    c = seen.classes[3]
    gold = pool.gold
    above = (gold.probs.argmax(1) == 3) & (gold.probs.amax(1) >= selection.threshold[3])
    assert c.gold_rows == int(above.sum()) > 0
    assert c.gold_precision == pytest.approx(float((gold.label[above] == 3).float().mean()))
    assert 0 < c.gold_lower < c.gold_precision
    empty = preview(select(make_pool(0), SelectionConfig()), make_pool(0))
    assert empty.coverage == 0.0 and empty.chosen == 0


@pytest.mark.parametrize(
    "change",
    [
        {"align_gamma": 0.0},
        {"align_gamma": 0.5, "precision_target": 0.3},
        {"rule": "crest"},
        {"agreement": AgreementConfig(mode="soft", over=["modalities"])},
    ],
    ids=lambda change: " ".join(change),
)
def test_preview_compares_gold_on_the_scale_of_the_thresholds(change):
    """A threshold on aligned or mixed confidences says nothing of gold as it was before."""
    pool = make_pool(classes=4)
    pool.gold.probs = pool.gold.probs ** torch.tensor([4.0, 1.0, 1.0, 0.5])  # far from the prior
    pool.gold.probs /= pool.gold.probs.sum(1, keepdim=True)
    selection = select(pool, SelectionConfig(**change))
    probs = pool.gold.probs
    if "agreement" in change:
        probs = torch.cat([probs[None], pool.gold.by_modality]).mean(0)
    else:
        target = pool.prior ** change.get("align_gamma", 1.0)
        probs = probs * (target / target.sum()) / pool.probs.mean(0)
        probs = probs / probs.sum(1, keepdim=True)
    assert not torch.equal(probs.argmax(1), pool.gold.probs.argmax(1))
    for c, seen in enumerate(preview(selection, pool).classes):
        above = (probs.argmax(1) == c) & (probs.amax(1) >= selection.threshold[c])
        assert seen.gold_rows == int(above.sum())
        if seen.gold_rows:
            right = float((pool.gold.label[above] == c).float().mean())
            assert seen.gold_precision == pytest.approx(right)


@pytest.mark.parametrize(
    "change, sentence",
    [
        (
            {"rule": "class_topc"},
            "rule must be one of .*got 'class_topc'; did you mean 'class_topk'",
        ),
        ({"targets": "firm"}, "targets must be one of rule, hard, soft, sharpened, got 'firm'"),
        ({"coverage": [0.3, 1.3]}, r"coverage must be in \(0, 1\], got 1.3"),
        ({"coverage": []}, "coverage must hold at least one value"),
        ({"per_class": {"joy": 1.5}}, r"per_class must be in \[0, 1\], got 1.5"),
        ({"precision_target": 1.0}, r"precision_target must be in \(0, 1\), got 1.0"),
        ({"temporal": 1.0}, r"temporal must be in \[0, 1\), got 1.0"),
        ({"mass_cap": 0.0}, "mass_cap must be positive, got 0.0"),
    ],
)
def test_a_wrong_setting_is_named(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        SelectionConfig(**change)


def test_what_a_rule_needs_and_lacks_is_named():
    bare = Pool(probs=make_pool().probs, prior=make_pool().prior, tie=make_pool().tie)
    needs = {
        "ups": "needs pool.members",
        "external": "needs pool.external",
        "adamatch": "pool.gold is missing",
        "dash": "pool.gold is missing",
        "label_propagation": "needs pool.features",
    }
    for rule, sentence in needs.items():
        with pytest.raises(ValueError, match=sentence):
            select(bare, SelectionConfig(rule=rule))
    with pytest.raises(ValueError, match="precision_target needs out-of-fold gold"):
        select(bare, SelectionConfig(precision_target=0.8))
    with pytest.raises(ValueError, match="prior 'em' needs out-of-fold gold"):
        select(bare, SelectionConfig(prior="em"))


def test_broken_probabilities_are_refused_with_the_row():
    pool = make_pool()
    pool.probs[7] = float("nan")
    with pytest.raises(ValueError, match=r"1 of \d+ are not, the first is row 7"):
        select(pool, SelectionConfig())
    with pytest.raises(ValueError, match=r"tie must have shape \(300\), got \(10,\)"):
        make_pool(tie=torch.arange(10))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probs": torch.rand(5)}, r"probs must have shape \(N, C\), got \(5,\)"),
        ({"probs": torch.full((300, 4), torch.nan)}, "probs must be finite"),
        ({"probs": torch.full((300, 4), torch.inf)}, "probs must be finite"),
        ({"prior": torch.rand(3)}, r"prior must have shape \(4\), got \(3,\)"),
        ({"tie": torch.arange(299)}, r"tie must have shape \(300\), got \(299,\)"),
        ({"assumed": 0.3}, "assumed must be a tensor, got 0.3"),
        ({"assumed": torch.rand(5)}, r"assumed must have shape \(4\), got \(5,\)"),
        ({"features": torch.rand(2, 6)}, r"features must have shape \(300, any\), got \(2, 6\)"),
        ({"group": torch.zeros(1)}, r"group must have shape \(300\), got \(1,\)"),
        ({"members": torch.rand(3, 300, 5)}, r"members must have shape \(any, 300, 4\)"),
        ({"present": torch.ones(300, 3)}, r"present must have shape \(300, 2\), got \(300, 3\)"),
        ({"classes": ["a", "b"]}, "classes has 2 names for 4 columns"),
        ({"rate": 0.0}, r"rate must be in \(0, 1\], got 0.0"),
        ({"rate": 1.1}, r"rate must be in \(0, 1\], got 1.1"),
        (
            {"gold": Gold(torch.rand(7, 4), torch.zeros(8).long())},
            r"gold.probs must have shape \(8, 4\), got \(7, 4\)",
        ),
        (
            {"gold": Gold(torch.rand(8, 4), torch.zeros(8).long(), group=torch.zeros(9))},
            r"gold.group must have shape \(8\), got \(9,\)",
        ),
    ],
)
def test_a_pool_whose_fields_do_not_fit_is_refused_in_one_sentence(change, message):
    with pytest.raises(ValueError, match=message):
        replace(make_pool(), **change)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"probs": torch.full((300, 4), 0.5)}, "each row of probs must sum to 1, got a sum of 2"),
        ({"probs": torch.tensor([[1.5, -0.5, 0, 0]]).expand(300, 4)}, "probs must not be negative"),
        ({"probs": torch.ones(300, 4).long()}, "probs must be floating point numbers, got torch.i"),
        (
            {"prior": torch.tensor([30.0, 10, 5, 5])},
            "prior must sum to 1, got a sum of 50",
        ),
        ({"prior": None}, "prior must be a tensor, got None"),
        ({"assumed": torch.tensor([1.0, 0, 0, torch.nan])}, "assumed must be finite"),
        ({"tie": torch.rand(300)}, r"tie must be whole numbers \(int64\), got torch.float32"),
        ({"group": torch.rand(300)}, "group must be whole numbers"),
        (
            {"eligible": torch.ones(300)},
            r"eligible must be true or false \(bool\), got torch",
        ),
        ({"rate": 30}, r"rate must be in \(0, 1\], got 30"),
        ({"rate": None}, r"rate must be in \(0, 1\], got None"),
        ({"rate": True}, r"rate must be in \(0, 1\], got True"),
        ({"round": 0}, "round must be a whole number from 1 on, got 0"),
        (
            {"gold": Gold(torch.full((8, 4), 0.25), torch.full((8,), -1))},
            r"gold.label must be in 0..3, got -1..-1; rows without a label are no gold",
        ),
        (
            {"gold": Gold(torch.full((8, 4), 0.25), torch.full((8,), 4))},
            r"gold.label must be in 0..3, got 4..4",
        ),
        (
            {"gold": Gold(torch.full((8, 4), 1.0), torch.zeros(8).long())},
            "each row of gold.probs must sum to 1, got a sum of 4; apply softmax to logits",
        ),
    ],
)
def test_a_pool_of_impossible_values_is_refused_in_one_sentence(change, message):
    with pytest.raises(ValueError, match=message):
        replace(make_pool(), **change)


def test_probabilities_of_16_bits_are_near_enough_to_one():
    probs = torch.rand(300, 4).softmax(1).half()
    assert len(make_pool(probs=probs)) == 300
