"""Calibration recovers what was done to the logits; certificates hold as often as they promise."""

import json
import math

import numpy as np
import pytest
import torch

from pseudo_label.bounds import lower_bound, precision_thresholds, rows_needed
from pseudo_label.calibration import Calibration, fit_calibration, fit_temperature
from pseudo_label.reliability import aurc, brier, ece, reliability, risk_coverage


def draw(rows, classes=4, temperature=2.0, seed=0):
    """Logits whose calibrated form is logits / temperature, and labels drawn from it."""
    g = torch.Generator().manual_seed(seed)
    true = 2 * torch.randn(rows, classes, generator=g)
    label = torch.multinomial(true.softmax(1), 1, generator=g)[:, 0]
    return true * temperature, label


def test_temperature_is_recovered_and_shrunk():
    logits, y = draw(3000)
    assert float(fit_temperature(logits, y)) == pytest.approx(2.0, rel=0.1)
    few = float(fit_temperature(logits[:50], y[:50]))
    raw = float(fit_temperature(logits[:50], y[:50], n_shrink=0))
    assert math.log(few) == pytest.approx(math.log(raw) / 2, rel=1e-4)
    assert float(fit_temperature(logits[:500], y[:500])) == pytest.approx(2.0, rel=0.15)


def test_temperature_equals_a_fine_search():
    logits, y = draw(400, temperature=0.5, seed=3)
    grid = torch.linspace(0.2, 2, 2000)
    losses = [float(torch.nn.functional.cross_entropy(logits / t, y)) for t in grid]
    best = float(grid[int(np.argmin(losses))])
    assert float(fit_temperature(logits, y, n_shrink=0)) == pytest.approx(best, rel=0.01)


def test_no_rows_or_one_class_change_nothing():
    empty = fit_calibration(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))
    assert empty.method == "none" and "0 gold rows" in empty.note
    assert float(fit_temperature(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))) == 1.0
    one = fit_calibration(torch.zeros(9, 1), torch.zeros(9, dtype=torch.long))
    assert one.apply(torch.zeros(2, 1)).tolist() == [[1.0], [1.0]]


@pytest.mark.parametrize("method", ["none", "temperature", "vector", "dirichlet", "isotonic"])
def test_every_method_gives_probabilities_and_survives_json(method):
    logits, y = draw(400)
    fitted = fit_calibration(logits, y, method)
    again = Calibration.from_state(json.loads(json.dumps(fitted.state_dict())))
    fresh = draw(100, seed=7)[0]
    probs = fitted.apply(fresh)
    assert torch.equal(probs, again.apply(fresh))
    assert torch.allclose(probs.sum(1), torch.ones(100), atol=1e-5) and (probs >= 0).all()
    assert fitted.method == method and fitted.rows == 400


@pytest.mark.parametrize("method", ["temperature", "vector", "dirichlet", "isotonic"])
def test_every_method_lowers_the_calibration_error_of_overconfident_logits(method):
    logits, y = draw(2000, temperature=3.0)
    fresh, truth = draw(4000, temperature=3.0, seed=9)

    def error(probs):
        confidence, predicted = probs.max(1)
        return ece(confidence, predicted == truth)

    before = error(fresh.softmax(1))
    after = error(fit_calibration(logits, y, method).apply(fresh))
    assert before > 0.1 and after < 0.04


def test_vector_scaling_sees_a_shifted_class_that_temperature_cannot():
    logits, y = draw(4000, temperature=1.0)
    logits = logits + torch.tensor([2.0, 0.0, 0.0, 0.0])
    auto = fit_calibration(logits, y)
    assert auto.method in ("vector", "dirichlet") and "cross-validated NLL" in auto.note
    truth = (logits - torch.tensor([2.0, 0.0, 0.0, 0.0])).softmax(1)
    assert (auto.apply(logits) - truth).abs().mean() < 0.02


def test_auto_uses_a_shrunk_temperature_on_few_rows_and_says_so():
    logits, y = draw(60)
    fitted = fit_calibration(logits, y)
    assert fitted.method == "temperature"
    assert "shrunk by 60 / (60 + 50): 60 gold rows" in fitted.note
    plain = fit_calibration(*draw(1000))  # temperature is the truth: the simpler one stays
    assert plain.method == "temperature" and "cross-validated" in plain.note


def test_auto_can_keep_speakers_together():
    logits, y = draw(1000)
    assert fit_calibration(logits, y, group=torch.arange(1000) % 8).method == "temperature"


def test_unknown_method_names_the_nearest():
    with pytest.raises(ValueError, match=r"method must be one of auto.*did you mean 'vector'"):
        fit_calibration(*draw(10), method="vectr")


def test_calibration_error_of_calibrated_rows_is_small_and_equals_the_loop():
    g = torch.Generator().manual_seed(0)
    confidence = torch.rand(20_000, generator=g)
    right = torch.rand(20_000, generator=g) < confidence
    assert ece(confidence, right) < 0.02
    c, r = confidence[:150].double().numpy(), right[:150].numpy()
    order, total = np.argsort(c), 0.0
    for k in range(15):
        part = order[10 * k : 10 * k + 10]
        total += abs(c[part].mean() - r[part].mean()) / 15
    assert ece(c, r) == pytest.approx(total)
    table = reliability(c, r)
    assert table.rows == [10] * 15 and table.ece == pytest.approx(total)
    assert table.low[0] == c.min() and table.high[-1] == c.max()


def test_calibration_error_does_not_depend_on_the_order_of_equal_confidences():
    c, r = np.repeat([0.5, 0.9], 40), np.arange(80) % 3 == 0
    order = np.random.default_rng(0).permutation(80)
    assert ece(c, r) == pytest.approx(ece(c[order], r[order]))
    assert reliability(c, r).rows == [40, 40]
    assert ece([], []) == 0.0


def test_risk_coverage_equals_the_loop_and_breaks_ties_evenly():
    c = np.array([0.9, 0.8, 0.8, 0.5])
    right = np.array([True, False, True, False])
    coverage, risk = risk_coverage(c, right)
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert risk.tolist() == pytest.approx([0, 0.25, 1 / 3, 0.5])
    assert aurc(c, right) == pytest.approx(np.mean([0, 0.25, 1 / 3, 0.5]))
    assert risk_coverage(c[::-1], right[::-1])[1].tolist() == pytest.approx(risk.tolist())
    assert math.isnan(aurc([], []))


def test_brier_equals_the_loop():
    probs, y = draw(30)[0].softmax(1), draw(30)[1]
    total = sum(
        (p - (c == t)) ** 2
        for row, t in zip(probs.tolist(), y.tolist(), strict=True)
        for c, p in enumerate(row)
    )
    assert brier(probs, y) == pytest.approx(total / 30)


def test_rows_needed_for_a_certificate():
    """So many correct rows, without an error, certify 0.8, 0.85, 0.9, 0.95, 0.99."""
    targets = (0.8, 0.85, 0.9, 0.95, 0.99)
    assert [rows_needed(t, 0.10) for t in targets] == [11, 15, 22, 45, 230]
    assert [rows_needed(t) for t in targets] == [14, 19, 29, 59, 299]
    for t in targets:
        n = torch.tensor([rows_needed(t) - 1, rows_needed(t)])
        below, enough = (lower_bound(n, n, 0.05) >= t).tolist()
        assert enough and not below


def test_lower_bound_is_exact():
    """P(X >= k | p = bound) = alpha."""
    k, n, alpha = 37, 45, 0.05
    p = float(lower_bound(torch.tensor(k), torch.tensor(n), alpha))
    tail = sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1))
    assert tail == pytest.approx(alpha, abs=1e-9)
    assert float(lower_bound(torch.tensor(0), torch.tensor(n), alpha)) == 0.0


def test_thresholds_equal_the_loop():
    g = torch.Generator().manual_seed(0)
    probs = (2 * torch.randn(400, 3, generator=g)).softmax(1)
    label = torch.multinomial(probs, 1, generator=g)[:, 0]
    bound = precision_thresholds(probs, label, 0.75)
    for c in range(3):
        mine = [i for i in range(400) if int(probs[i].argmax()) == c]
        mine.sort(key=lambda i: -float(probs[i].max()))
        best = 2.0
        for n in range(20, len(mine) + 1):
            right = sum(int(label[i]) == c for i in mine[:n])
            low = float(lower_bound(torch.tensor(right), torch.tensor(n), 0.05 / 3))
            best = float(probs[mine[n - 1]].max()) if low >= 0.75 else best
        assert float(bound.threshold[c]) == best < 1
        assert float(bound.lower[c]) >= 0.75
    strict = precision_thresholds(probs, label, 0.75, mode="fixed_sequence")
    assert (strict.threshold >= bound.threshold).all()


def test_a_threshold_never_cuts_a_tie():
    probs = torch.tensor([[0.9, 0.1]] * 40 + [[0.8, 0.2]] * 40)
    label = torch.tensor([0] * 40 + [0] * 30 + [1] * 10)  # the good half of the tie comes first
    bound = precision_thresholds(probs, label, 0.85)
    assert float(bound.threshold[0]) == pytest.approx(0.9)


def test_what_cannot_be_promised_is_said():
    probs = torch.tensor([[0.9, 0.05, 0.05]] * 60 + [[0.1, 0.8, 0.1]] * 10 + [[0.1, 0.2, 0.7]] * 80)
    label = torch.tensor([0] * 60 + [1] * 10 + [0, 2] * 40)
    bound = precision_thresholds(probs, label, 0.9, classes=["joy", "fear", "calm"])
    assert bound.uncertified == [1, 2]
    assert "certified for 1 of 3 classes" in bound.note
    assert "no promise is possible for fear (10 rows)" in bound.note
    assert "needs at least 39 correct out-of-fold rows" in bound.note
    assert "does not reach 0.9 for calm" in bound.note
    good = precision_thresholds(probs[:60], label[:60], 0.9, classes=["joy", "fear", "calm"])
    assert good.uncertified == [1, 2]


@pytest.mark.parametrize("mode, allowed", [("search", 0.10), ("fixed_sequence", 0.05)])
def test_the_guarantee_holds_in_repeated_draws(mode, allowed):
    """P(certified and true precision of what passes < target) in 1,000 draws of 200 rows."""
    g = torch.Generator().manual_seed(0)
    violated = certified = 0
    for _ in range(1000):
        confidence = (0.5 + 0.5 * torch.rand(200, generator=g)).sort().values
        right = torch.rand(200, generator=g) < 0.95 * confidence  # over-confident by 5 %
        probs = torch.stack([confidence, 1 - confidence], 1)
        bound = precision_thresholds(probs, (~right).long(), 0.8, mode=mode)
        tau = float(bound.threshold[0])
        if tau < 2:
            certified += 1
            violated += 0.95 * (tau + 1) / 2 < 0.8  # mean of 0.95 c over c in [tau, 1]
    assert violated / 1000 < allowed
    assert certified > 100


def test_the_guarantee_holds_for_all_classes_at_once():
    """P(any of 5 certified classes is less precise than promised), against a pool of 50,000."""
    g = torch.Generator().manual_seed(0)

    def draw_pool(rows):
        probs = (2 * torch.randn(rows, 5, generator=g)).softmax(1)
        return probs, torch.multinomial(probs, 1, generator=g)[:, 0]

    pool, truth = draw_pool(50_000)
    confidence, predicted = pool.max(1)
    violated = certified = 0
    for _ in range(200):
        bound = precision_thresholds(*draw_pool(800), 0.75)
        taken = confidence >= bound.threshold[predicted]
        rows = torch.bincount(predicted[taken], minlength=5)
        right = torch.bincount(predicted[taken & (predicted == truth)], minlength=5)
        violated += bool((right < 0.75 * rows).any())
        certified += int((rows > 0).sum())
    assert violated / 200 < 0.10
    assert certified > 500
