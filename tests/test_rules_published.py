"""Masks and weights of the published rules against slow loops over the papers' formulas."""

import math

import pytest
import torch

from pseudo_label import Pool, SelectionConfig, select
from pseudo_label.rules.adamatch import AdaMatchConfig, align_to_gold, relative_threshold
from pseudo_label.rules.dash import DashConfig, loss_threshold, self_loss
from pseudo_label.rules.flexmatch import FlexMatchConfig, flexmatch_batch
from pseudo_label.rules.freematch import FreeMatchConfig, adaptive_thresholds, fairness_term
from pseudo_label.rules.softmatch import SoftMatchConfig, gaussian_weight
from pseudo_label.rules.ups import UPSConfig, negative_labels
from tests.selection_pools import make_pool, probabilities

BATCHES, SIZE, C = 10, 24, 4


@pytest.fixture
def recorded():
    """A stream of batches: probabilities that sharpen over time, skewed to class 0, and row ids."""
    g = torch.Generator().manual_seed(3)
    stream = []
    for step in range(BATCHES):
        logits = (1 + step / 4) * torch.randn(SIZE, C, generator=g)
        logits[:, 0] += 1
        stream.append((logits.softmax(1), torch.randperm(60, generator=g)[:SIZE]))
    return stream


@pytest.mark.parametrize("warmup", [True, False])
def test_flexmatch_masks_equal_the_loop(recorded, warmup):
    """tau_c = tau a_c / (2 - a_c), a_c = sigma_c / max(max sigma, unused); mask before counting."""
    config = FlexMatchConfig(threshold=0.7, warmup=warmup)
    selected, effect = torch.full((60,), -1), torch.zeros(C)
    memory, a, masked = [-1] * 60, [0.0] * C, 0
    for probs, rows in recorded:
        mask, selected, effect = flexmatch_batch(probs, rows, selected, effect, config)
        for i, p in enumerate(probs.tolist()):
            y = p.index(max(p))
            assert bool(mask[i]) == (max(p) >= 0.7 * a[y] / (2 - a[y]))
        for i, p in enumerate(probs.tolist()):
            if max(p) >= 0.7:
                memory[int(rows[i])] = p.index(max(p))
        most = max(memory.count(c) for c in range(C))
        most = max(most, memory.count(-1)) if warmup else most
        a = [memory.count(c) / max(most, 1) for c in range(C)]
        assert selected.tolist() == memory
        assert effect.tolist() == pytest.approx(a)
        masked += int((~mask).sum())
    assert masked > 5  # the stream does exercise the threshold


def test_flexmatch_rule_counts_the_pool_before_it_masks():
    pool = make_pool(400)
    config = SelectionConfig(rule="flexmatch", temporal=0.0)
    config.flexmatch = FlexMatchConfig(threshold=0.8)
    selection = select(pool, config)
    pairs = zip(pool.confidence, pool.predicted, strict=True)
    confident = [int(y) if m >= 0.8 else -1 for m, y in pairs]
    most = max(confident.count(c) for c in range(-1, 4))
    for c in range(4):
        a = confident.count(c) / most
        assert float(selection.threshold[c]) == pytest.approx(0.8 * a / (2 - a))
    assert torch.equal(selection.chosen, pool.confidence >= selection.threshold[pool.predicted])


@pytest.mark.parametrize("quantile, clip", [(False, False), (True, False), (False, True)])
def test_freematch_masks_equal_the_loop(recorded, quantile, clip):
    """tau = EMA mean(m); p = EMA mean(p); tau_c = tau p_c / max p, both from 1 / C."""
    config = FreeMatchConfig(momentum=0.9, unbiased=False, quantile=quantile, clip=clip)
    state, tau, p, h = {}, 1 / C, [1 / C] * C, [1 / C] * C
    for probs, _ in recorded:
        got, state = adaptive_thresholds(probs, state, config)
        m = [max(r) for r in probs.tolist()]
        level = float(torch.quantile(torch.tensor(m), 0.8)) if quantile else sum(m) / SIZE
        tau = 0.9 * tau + 0.1 * level
        tau = min(max(tau, 0.0), 0.95) if clip else tau
        column = [sum(r[c] for r in probs.tolist()) / SIZE for c in range(C)]
        named = [r.index(max(r)) for r in probs.tolist()]
        p = [0.9 * p[c] + 0.1 * column[c] for c in range(C)]
        h = [0.9 * h[c] + 0.1 * named.count(c) / SIZE for c in range(C)]
        assert got.tolist() == pytest.approx([tau * p[c] / max(p) for c in range(C)], abs=1e-6)
        assert state["freematch.hist"].tolist() == pytest.approx(h, abs=1e-6)


def test_freematch_averages_are_right_from_the_first_round(recorded):
    probs = recorded[0][0]
    tau, state = adaptive_thresholds(probs, {}, FreeMatchConfig())
    mean = probs.mean(0)
    assert torch.allclose(tau, probs.amax(1).mean() * mean / mean.max())
    again, _ = adaptive_thresholds(probs, state, FreeMatchConfig())
    assert torch.allclose(again, tau)


def test_freematch_fairness_equals_the_loop(recorded):
    probs = recorded[2][0]
    logits = probs.log() * 0.7
    mask = torch.arange(SIZE) % 3 == 0
    model, hist = torch.tensor([0.4, 0.3, 0.2, 0.1]), torch.tensor([0.5, 0.5, 0.0, 0.0])
    strong = [r.softmax(0) for i, r in enumerate(logits) if mask[i]]
    named = [int(r.argmax()) for r in strong]
    share = [named.count(c) / len(named) for c in range(C)]
    mean = [sum(float(r[c]) for r in strong) / len(strong) for c in range(C)]
    wanted = [float(model[c] / hist[c]) if hist[c] > 0 else 0.0 for c in range(C)]
    got = [mean[c] / share[c] if share[c] > 0 else 0.0 for c in range(C)]
    wanted, got = [w / sum(wanted) for w in wanted], [x / sum(got) for x in got]
    expected = sum(w * math.log(x + 1e-12) for w, x in zip(wanted, got, strict=True))
    assert float(fairness_term(mask, logits, model, hist)) == pytest.approx(expected, rel=1e-4)
    assert float(fairness_term(mask & False, logits, model, hist)) == 0.0


@pytest.mark.parametrize("per_class", [False, True])
def test_softmatch_weights_equal_the_loop(recorded, per_class):
    """w = exp(-min(m - mu, 0)^2 / (2 var / n^2)), mu and var EMA from 1 / C and 1."""
    config = SoftMatchConfig(momentum=0.8, unbiased=False, per_class=per_class)
    groups = range(C) if per_class else [None]
    state, mu, var = {}, [1 / C] * C, [1.0] * C
    for probs, _ in recorded:
        weight, state = gaussian_weight(probs, state, config)
        m = [max(r) for r in probs.tolist()]
        y = [r.index(max(r)) for r in probs.tolist()]
        for c in groups:
            x = [v for v, k in zip(m, y, strict=True) if c is None or k == c]
            mean = sum(x) / len(x) if len(x) > 1 else 0.0
            spread = sum((v - mean) ** 2 for v in x) / (len(x) - 1) if len(x) > 1 else 1.0
            for k in range(C) if c is None else [c]:
                mu[k], var[k] = 0.8 * mu[k] + 0.2 * mean, 0.8 * var[k] + 0.2 * spread
        for i in range(SIZE):
            below = min(m[i] - mu[y[i]], 0)
            assert float(weight[i]) == pytest.approx(
                math.exp(-(below**2) / (2 * var[y[i]] / 4)), abs=1e-5
            )


def test_softmatch_takes_every_row():
    selection = select(make_pool(), SelectionConfig(rule="softmatch"))
    assert selection.chosen.all()
    assert 0 < selection.weight.min() < selection.weight.max() == 1


@pytest.mark.parametrize("number", [1, 2, 40])
def test_dash_masks_equal_the_loop(number):
    """CE(p, label) <= max(C gamma^-t rho_0, rho_min); sharpened labels until rho_min is reached."""
    pool = make_pool(round=number)
    numbers = DashConfig()
    gold = pool.gold
    rho = -sum(math.log(float(p[y])) for p, y in zip(gold.probs, gold.label, strict=True)) / 120
    rho = max(1.0001 * 1.27 ** -(number - 1) * rho, 0.05)
    selection = select(pool, SelectionConfig(rule="dash", temporal=0.0))
    for i, row in enumerate(pool.probs.tolist()):
        q = [p**2 / sum(x**2 for x in row) for p in row]
        if rho == 0.05:
            q = [float(c == row.index(max(row))) for c in range(4)]
        loss = -sum(a * math.log(b) for a, b in zip(q, row, strict=True))
        assert bool(selection.chosen[i]) == (loss <= rho)
        assert selection.target[i].tolist() == pytest.approx(q, abs=1e-5)
    kept = selection.state["dash.rho_init"]
    assert float(loss_threshold(kept, number - 1, numbers)) == pytest.approx(rho)
    assert (self_loss(pool.probs, selection.target) <= rho).equal(selection.chosen)


def test_adamatch_masks_equal_the_loop(recorded):
    """max Norm(p p_gold / p_pool) >= tau mean(max p on gold), averages as published."""
    config = AdaMatchConfig(threshold=0.95, momentum=0.9, unbiased=False)
    g = torch.Generator().manual_seed(9)
    state, model, target = {}, None, [1 / C] * C
    for probs, _ in recorded:
        gold = probabilities(8, C, generator=g)
        aligned, state = align_to_gold(probs, gold, state, config)
        mean = [sum(r[c] for r in probs.tolist()) / SIZE for c in range(C)]
        old = mean if model is None else model
        model = [0.9 * a + 0.1 * b for a, b in zip(old, mean, strict=True)]
        here = [sum(r[c] for r in gold.tolist()) / 8 for c in range(C)]
        target = [0.9 * a + 0.1 * b for a, b in zip(target, here, strict=True)]
        level = 0.95 * sum(max(r) for r in gold.tolist()) / 8
        assert float(relative_threshold(gold, 0.95)) == pytest.approx(level, abs=1e-6)
        for i, row in enumerate(probs.tolist()):
            raw = [p * (target[c] + 1e-6) / (model[c] + 1e-6) for c, p in enumerate(row)]
            assert aligned[i].tolist() == pytest.approx([r / sum(raw) for r in raw], abs=1e-5)


def test_adamatch_rule_aligns_the_pool_to_gold():
    pool = make_pool(2000)
    selection = select(pool, SelectionConfig(rule="adamatch", temporal=0.0))
    level = 0.9 * float(pool.gold.probs.amax(1).mean())
    assert torch.equal(selection.chosen, selection.probs.amax(1) >= level)
    ratio = pool.gold.probs.mean(0) / pool.probs.mean(0)
    expected = pool.probs * ratio / (pool.probs * ratio).sum(1, keepdim=True)
    assert torch.allclose(selection.probs, expected, atol=1e-5)


def _std(values):
    mean = sum(values) / len(values)
    return math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))


def test_ups_masks_equal_the_loop():
    """Positive: mean >= tau_p, std < kappa_p. Negative: flattened mean < tau_n, std < kappa_n."""
    g = torch.Generator().manual_seed(0)
    base = 2 * torch.randn(1, 300, 4, generator=g)
    members = (base + 0.3 * torch.randn(5, 300, 4, generator=g)).softmax(-1)
    pool = make_pool(members=members)
    config = SelectionConfig(rule="ups")
    config.ups = UPSConfig(kappa_quantile=None, balance_rounds=0, kappa_n=0.01)
    selection = select(pool, config)
    flat = (members.log() / 2).softmax(-1)
    found = negative_labels(members, config.ups)
    for i in range(300):
        columns = [[float(members[e, i, c]) for e in range(5)] for c in range(4)]
        means = [sum(x) / 5 for x in columns]
        y = means.index(max(means))
        chosen = means[y] >= 0.7 and _std(columns[y]) < 0.05
        assert bool(selection.chosen[i]) == chosen and int(selection.label[i]) == y
        for c in range(4):
            x = [float(flat[e, i, c]) for e in range(5)]
            negative = sum(x) / 5 < 0.05 and _std(x) < 0.01 and c != y
            assert bool(found[i, c]) == negative
            assert bool(selection.negative[i, c]) == (negative and not chosen)
    assert 20 < selection.chosen.sum() < 280 and selection.negative.any()


def test_ups_balances_the_first_rounds_by_the_steadiest_rows():
    members = make_pool(2000).members ** 2
    pool = make_pool(2000, members=members / members.sum(-1, keepdim=True))
    config = SelectionConfig(rule="ups")
    config.ups = UPSConfig(tau_p=0.5, balance_min=3)
    early = select(pool, config)
    counts = torch.bincount(early.label[early.chosen], minlength=4)
    assert counts.min() == counts.max() > 3
    pool.round = 2
    later = select(pool, config)
    assert later.chosen.sum() > early.chosen.sum()
    spread = pool.members.std(0).gather(1, later.label[:, None])[:, 0]
    for c in range(4):
        mine = later.chosen & (later.label == c)
        kept = early.chosen & mine
        assert not (mine & ~kept).any() or spread[kept].max() <= spread[mine & ~kept].min()


def test_ups_kappa_by_quantile_keeps_that_share_of_the_confident_rows():
    pool = make_pool(2000)
    config = SelectionConfig(rule="ups")
    config.ups = UPSConfig(tau_p=0.4, kappa_quantile=0.5, balance_rounds=0)
    selection = select(pool, config)
    confident = (pool.members.mean(0).amax(1) >= 0.4).sum()
    assert int(selection.chosen.sum()) == pytest.approx(int(confident) / 2, abs=1)


def test_curriculum_equals_numpy_percentiles():
    import numpy as np

    pool = make_pool(500)
    for number, p in enumerate([80, 60, 40, 20, 0, 0], start=1):
        pool.round = number
        config = SelectionConfig(rule="curriculum", temporal=0.0)
        per_class = select(pool, config)
        config.curriculum.per_class = False
        common = select(pool, config)
        m, y = pool.confidence.double().numpy(), pool.predicted.numpy()
        assert (common.chosen.numpy() == (m >= np.percentile(m, p) - 1e-12)).all()
        for c in range(4):
            mine = y == c
            reached = m[mine] >= np.percentile(m[mine], p) - 1e-12
            assert (per_class.chosen.numpy()[mine] == reached).all()


def test_crest_rates_and_progressive_alignment_equal_the_paper():
    pool = make_pool(800, round=3)  # prior .1 .2 .3 .4: class 3 is the most frequent
    selection = select(pool, SelectionConfig(rule="crest", temporal=0.0))
    t = 1 - 0.5 * 2 / 5
    target = pool.prior**t / (pool.prior**t).sum()
    aligned = pool.probs * target / pool.probs.mean(0)
    aligned = aligned / aligned.sum(1, keepdim=True)
    assert torch.allclose(selection.probs, aligned, atol=1e-5)
    rates = [(0.4 / 0.4) ** (1 / 3), (0.3 / 0.4) ** (1 / 3), 0.5 ** (1 / 3), 0.25 ** (1 / 3)]
    for c in range(4):
        mine = [i for i in range(800) if int(aligned[i].argmax()) == c]
        mine.sort(key=lambda i: -float(aligned[i].max()))
        count = math.floor(rates[c] * len(mine) + 1e-6)
        assert set(mine[:count]) == set(
            (selection.chosen & (selection.label == c)).nonzero()[:, 0].tolist()
        )


def test_a_rule_on_a_cut_pool_sees_no_other_rows():
    """A pool is all a rule knows: no memory outside the state it returns."""
    pool = make_pool()
    for rule in ("freematch", "flexmatch", "softmatch"):
        config = SelectionConfig(rule=rule)
        select(make_pool(seed=5), config)
        bare = Pool(probs=pool.probs, prior=pool.prior, tie=pool.tie)
        assert torch.equal(select(bare, config).weight, select(pool, config).weight)
