"""The precision bound where few pool rows are taken, and how classes share its risk."""

import math

import pytest
import torch

from pseudo_label.bounds import design_effects, holds_in_pool, lower_bound, precision_thresholds


def test_few_pool_rows_are_promised_by_the_exact_test():
    """P(gold shows so few errors | one error too many among the taken rows), by counting."""
    for n, wrong, m, target in (
        (40, 1, 6, 0.8),
        (60, 0, 3, 0.8),
        (25, 0, 50, 0.7),
        (90, 3, 9, 0.9),
    ):
        breaking = next(e for e in range(m + 2) if m - e < target * m - 1e-9)
        total = wrong + breaking
        chance = sum(
            math.comb(total, i) * math.comb(n + m - total, n - i) for i in range(wrong + 1)
        ) / math.comb(n + m, n)
        right, rows, taken = (torch.tensor([v]) for v in (n - wrong, n, m))
        assert bool(holds_in_pool(right, rows, taken, target, chance * 1.001))
        assert not bool(holds_in_pool(right, rows, taken, target, chance * 0.999))
    nothing = torch.tensor([0])
    assert bool(holds_in_pool(torch.tensor([1]), torch.tensor([9]), nothing, 0.9, 0.05))


def test_with_ever_more_pool_rows_it_is_the_bound_itself():
    n, k = torch.tensor([30, 40, 60, 80]), torch.tensor([29, 37, 53, 70])
    many = torch.full_like(n, 10**7)
    for target in (0.7, 0.8, 0.85):
        said = holds_in_pool(k, n, many, target, 0.05)
        assert torch.equal(said, lower_bound(k, n, 0.05) >= target)


@pytest.mark.parametrize("rows", [6, 12, 30])
def test_the_rows_taken_keep_the_target_however_few_they_are(rows):
    """P(any certified class below the target among the rows taken) in 400 draws."""
    g = torch.Generator().manual_seed(rows)
    broken = naive = certified = 0
    for _ in range(400):
        probs = (3 * torch.randn(300 + rows, 2, generator=g)).softmax(1)
        label = torch.multinomial(probs, 1, generator=g)[:, 0]
        pool, truth = probs[300:], label[300:]
        confidence, predicted = pool.max(1)
        for taken in (None, (confidence, predicted)):
            bound = precision_thresholds(probs[:300], label[:300], 0.8, taken=taken)
            keep = confidence >= bound.threshold[predicted]
            each = [(truth == predicted)[keep & (predicted == c)].float() for c in range(2)]
            bad = any(len(x) and float(x.mean()) < 0.8 for x in each)
            broken, naive = broken + bad * (taken is not None), naive + bad * (taken is None)
        certified += int(keep.sum())
    assert broken / 400 < 0.05 < naive / 400
    assert certified > 100


def test_classes_that_nothing_could_certify_take_no_part_of_the_risk():
    probs = torch.full((40, 10), 0.01)
    probs[:, 0] = 0.91
    label = torch.zeros(40, dtype=torch.long)
    bound = precision_thresholds(probs[:20], label[:20], 0.85)
    assert float(bound.threshold[0]) < 1  # 19 rows do for one class, for ten it would be 33
    assert float(bound.lower[0]) == pytest.approx(0.05 ** (1 / 20))
    assert bound.uncertified == list(range(1, 10))


def test_what_certified_classes_need_no_more_goes_to_the_rest():
    probs = torch.tensor([[0.9, 0.1]] * 100 + [[0.1, 0.9]] * 40)
    label = torch.tensor([0] * 100 + [1] * 38 + [0] * 2)
    low = [float(lower_bound(torch.tensor(38), torch.tensor(40), a)) for a in (0.025, 0.05)]
    target = sum(low) / 2  # reached at all of the risk, not at half of it
    bound = precision_thresholds(probs, label, target)
    assert bound.uncertified == [] and float(bound.lower[1]) == pytest.approx(low[1])
    label[:50] = 1  # class 0 is not certified: half of the risk stays with it
    assert precision_thresholds(probs, label, target).uncertified == [0, 1]


def test_design_effects_equal_the_loop():
    g = torch.Generator().manual_seed(0)
    predicted, gold = (torch.randint(n, (60,), generator=g) for n in (2, 5))
    right = torch.rand(60, generator=g) < 0.2 + 0.15 * gold
    label, pool = (torch.randint(n, (50,), generator=g) for n in (2, 9))
    said = design_effects(right, predicted, label, gold, pool, 2)
    rest = [float(right[i]) - float(right[predicted == predicted[i]].float().mean())
            for i in range(60)]  # fmt: skip
    pairs = [
        rest[i] * rest[j]
        for i in range(60)
        for j in range(60)
        if i != j and gold[i] == gold[j] and predicted[i] == predicted[j]
    ]
    r = sum(pairs) / len(pairs) / (sum(x * x for x in rest) / 60)
    r *= sum(int(p) not in gold.tolist() for p in pool) / 50
    assert r > 0.01
    for side, (kind, who) in enumerate(((predicted, gold), (label, pool))):
        for c in range(2):
            mine = who[kind == c].tolist()
            each = [mine.count(s) for s in set(mine)]
            mean = sum(n * n for n in each) / sum(each)
            assert float(said[c, side]) == pytest.approx(1 + (mean - 1) * r, rel=1e-5)


def test_speakers_that_gold_knows_change_nothing():
    g = torch.Generator().manual_seed(1)
    probs = (3 * torch.randn(300, 2, generator=g)).softmax(1)
    label = torch.multinomial(probs, 1, generator=g)[:, 0]
    who, pool = torch.arange(300) % 5, torch.arange(80) % 5
    taken = (probs[:80].amax(1), probs[:80].argmax(1))
    plain = precision_thresholds(probs, label, 0.75, taken=taken)
    same = precision_thresholds(probs, label, 0.75, taken=taken, group=(who, pool))
    assert torch.equal(plain.threshold, same.threshold) and plain.note == same.note
    far = precision_thresholds(probs, label, 0.75, taken=taken, group=(who, pool + 5))
    assert (far.threshold >= plain.threshold).all()


def test_the_promise_reaches_speakers_without_gold():
    """P(a certified class below the target) in 200 draws; some speakers are much harder."""
    g = torch.Generator().manual_seed(2)
    broken = naive = certified = 0
    for _ in range(200):
        who = torch.arange(400) // 20  # speakers 0 to 9 have gold, 10 to 19 are new
        easy = torch.where(torch.rand(20, generator=g) < 0.2, 0.55, 0.97)[who]
        probs = torch.stack([x := 0.6 + 0.4 * torch.rand(400, generator=g), 1 - x], 1)
        label = (torch.rand(400, generator=g) > easy).long()
        taken = (probs[200:].amax(1), probs[200:].argmax(1))
        for group in (None, (who[:200], who[200:])):
            bound = precision_thresholds(probs[:200], label[:200], 0.8, taken=taken, group=group)
            kept = label[200:][taken[0] >= bound.threshold[0]]
            bad = len(kept) > 0 and float((kept == 0).float().mean()) < 0.8
            broken, naive = broken + bad * (group is not None), naive + bad * (group is None)
        certified += len(kept) > 0
    assert certified > 20 and naive > 2 * broken and broken / 200 <= 0.1
