"""The precision bound where few pool rows are taken, and how classes share its risk."""

import math

import pytest
import torch

from pseudo_label.bounds import holds_in_pool, lower_bound, precision_thresholds


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
