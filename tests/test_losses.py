"""Losses of classification, regression, disentangling and distillation against slow loops."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.func import grad, vmap

from models.losses import classification as cls
from models.losses import disentangle, distillation, regression
from models.losses.reduce import weighted_mean


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


B, C, K, D = 9, 4, 2, 5
LOGITS = torch.randn(B, C, generator=seeded(1))
SHARES = torch.rand(B, C, generator=seeded(2)).softmax(-1)
LABEL = torch.tensor([0, 1, 2, 0, 1, 0, 2, 0, 1])  # class 3 never occurs
ONE_HOT = F.one_hot(LABEL, C).float()
WEIGHT = torch.tensor([1.0, 0.5, 0.0, 2.0, 1.0, 0.0, 0.3, 1.0, 1.0])
PRIOR = torch.tensor([0.5, 0.2, 0.2, 0.1])
COUNTS = torch.tensor([50.0, 20.0, 20.0, 10.0])
AFFECT = torch.rand(B, K, generator=seeded(3))
PRED = torch.randn(B, K, generator=seeded(4), requires_grad=False)
X = torch.randn(B, D, generator=seeded(5))
Y = torch.randn(B, D, generator=seeded(6))

# every loss as a function of (first argument, weight)
LOSSES = {
    "soft_cross_entropy": (lambda x, w: cls.soft_cross_entropy(x, SHARES, w), LOGITS),
    "class_weighted": (
        lambda x, w: cls.soft_cross_entropy(x, ONE_HOT, w, class_weight=1 / COUNTS),
        LOGITS,
    ),
    "focal": (lambda x, w: cls.focal(x, ONE_HOT, w), LOGITS),
    "ldam": (lambda x, w: cls.ldam(x, ONE_HOT, COUNTS, w, scale=4.0), LOGITS),
    "soft_macro_f1": (lambda x, w: cls.soft_macro_f1(x, ONE_HOT, w), LOGITS),
    "ccc_loss": (lambda x, w: regression.ccc_loss(x, AFFECT, w), PRED),
    "mse": (lambda x, w: regression.mse(x, AFFECT, w), PRED),
    "ccc_mse": (lambda x, w: regression.ccc_mse(x, AFFECT, w), PRED),
    "difference": (lambda x, w: disentangle.difference(x, Y, w), X),
    "moments": (lambda x, w: disentangle.moments(x, Y, w), X),
    "reconstruction": (lambda x, w: disentangle.reconstruction(x, Y, w), X),
    "kl": (lambda x, w: distillation.kl(x, SHARES.log(), w), LOGITS),
    "mse_on_logits": (lambda x, w: distillation.mse_on_logits(x, SHARES, w), LOGITS),
}
every_loss = pytest.mark.parametrize("name", LOSSES)


@every_loss
def test_a_row_of_weight_0_is_absent_even_as_nan(name):
    loss, x = LOSSES[name]
    w = torch.tensor([1.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0])
    dirty = torch.where((w > 0)[:, None], x, torch.nan)
    value, slope = loss(dirty, w), grad(loss)(dirty, w)
    torch.testing.assert_close(value, loss(torch.where((w > 0)[:, None], x, 99.0), w))
    assert value.isfinite() and slope.isfinite().all()
    assert (slope[w == 0] == 0).all() and (slope[w > 0] != 0).any()


@every_loss
def test_no_row_left_is_exactly_zero_with_finite_gradient(name):
    loss, x = LOSSES[name]
    nothing = torch.zeros(B)
    assert loss(x, nothing) == 0
    assert (grad(loss)(x, nothing) == 0).all()


@every_loss
def test_weight_1_is_no_weight(name):
    loss, x = LOSSES[name]
    torch.testing.assert_close(loss(x, torch.ones(B)), loss(x, None))


@every_loss
def test_vmap_over_members_equals_one_at_a_time(name):
    loss, x = LOSSES[name]
    xs = torch.stack([x, 0.5 * x, x.roll(1, 0)])
    ws = torch.stack([torch.ones(B), WEIGHT, torch.zeros(B)])
    values, slopes = vmap(loss)(xs, ws), vmap(grad(loss))(xs, ws)
    for i in range(3):
        torch.testing.assert_close(values[i], loss(xs[i], ws[i]))
        torch.testing.assert_close(slopes[i], grad(loss)(xs[i], ws[i]), atol=1e-6, rtol=1e-5)


@every_loss
def test_half_precision_is_computed_in_float32(name):
    loss, x = LOSSES[name]
    value = loss(x.bfloat16(), WEIGHT)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(x.bfloat16().float(), WEIGHT))


def test_weighted_mean_never_reads_what_has_no_weight():
    value = torch.tensor([1.0, torch.nan, 4.0])
    assert float(weighted_mean(value, torch.tensor([1.0, 0.0, 2.0]))) == pytest.approx(3)
    assert weighted_mean(value, torch.zeros(3)) == 0


def test_difference_does_not_push_on_the_length_of_a_vector():
    centred = X - X.mean(0)
    size = centred.norm(dim=1, keepdim=True) + 1e-6
    other = (Y - Y.mean(0)) / (Y - Y.mean(0)).norm(dim=1, keepdim=True)

    def detached(x):
        return ((x - x.mean(0)) / size).T.matmul(other).square().mean()

    slope = grad(disentangle.difference)(X, Y)
    torch.testing.assert_close(slope, grad(detached)(X), atol=1e-5, rtol=1e-4)


def loop_ce(logits, target, weight, class_weight=None, gamma=0.0):
    top = bottom = 0.0
    for i in range(len(logits)):
        p = np.exp(logits[i] - logits[i].max())
        p /= p.sum()
        for c in range(len(p)):
            v = 1.0 if class_weight is None else class_weight[c]
            top += weight[i] * v * target[i, c] * (1 - p[c]) ** gamma * -math.log(p[c])
            bottom += weight[i] * v * target[i, c]
    return top / bottom


def test_cross_entropies_equal_loops_and_torch():
    x, t, w = LOGITS.double(), SHARES.double(), WEIGHT.double()
    args = [v.numpy() for v in (x, t, w)]
    assert float(cls.soft_cross_entropy(x, t, w)) == pytest.approx(loop_ce(*args))
    assert float(cls.focal(x, t, w, gamma=2.0)) == pytest.approx(loop_ce(*args, gamma=2.0))
    cw = torch.tensor([0.2, 1.0, 3.0, 0.5], dtype=torch.float64)
    weighted = cls.soft_cross_entropy(x, t, w, class_weight=cw)
    assert float(weighted) == pytest.approx(loop_ce(*args, class_weight=cw.numpy()))
    torch.testing.assert_close(
        cls.soft_cross_entropy(LOGITS, ONE_HOT, class_weight=cw.float()),
        F.cross_entropy(LOGITS, LABEL, cw.float()),
    )
    torch.testing.assert_close(
        cls.soft_cross_entropy(LOGITS, ONE_HOT, smoothing=0.1),
        F.cross_entropy(LOGITS, LABEL, label_smoothing=0.1),
    )


def test_soft_macro_f1_equals_a_loop_over_classes_that_occur():
    p = LOGITS.double().softmax(-1).numpy()
    t, w = ONE_HOT.numpy(), WEIGHT.double().numpy()
    scores = []
    for c in range(C):
        tp = sum(w[i] * p[i, c] * t[i, c] for i in range(B))
        fp = sum(w[i] * p[i, c] * (1 - t[i, c]) for i in range(B))
        fn = sum(w[i] * (1 - p[i, c]) * t[i, c] for i in range(B))
        if tp + fn > 0:
            precision, recall = tp / (tp + fp), tp / (tp + fn)
            scores.append(2 * precision * recall / (precision + recall))
    assert len(scores) == 3
    value = cls.soft_macro_f1(LOGITS.double(), ONE_HOT, WEIGHT)
    assert float(value) == pytest.approx(1 - np.mean(scores))
    sure = 50 * (2 * ONE_HOT - 1)
    assert float(cls.soft_macro_f1(sure, ONE_HOT)) == pytest.approx(0, abs=1e-6)


def test_ccc_equals_numpy_and_sees_scale_and_shift():
    x, y = PRED.double().numpy(), AFFECT.double().numpy()
    for k in range(K):
        cov = ((x[:, k] - x[:, k].mean()) * (y[:, k] - y[:, k].mean())).mean()
        gap = (x[:, k].mean() - y[:, k].mean()) ** 2
        expected = 2 * cov / (x[:, k].var() + y[:, k].var() + gap)
        value = regression.ccc(PRED.double(), AFFECT.double())[k]
        assert float(value) == pytest.approx(expected, abs=1e-6)
    y = torch.randn(20_000, 1, dtype=torch.float64, generator=seeded(9))
    noise = torch.randn(20_000, 1, dtype=torch.float64, generator=seeded(10))
    x = 0.8 * y + 0.6 * noise  # correlation .8, same scale
    assert float(regression.ccc(x, y)) == pytest.approx(0.80, abs=0.01)
    assert float(regression.ccc(x + 1, y)) == pytest.approx(0.54, abs=0.01)
    assert float(regression.ccc(x / 2, y)) == pytest.approx(0.64, abs=0.01)


def test_ccc_of_weighted_rows_equals_repeated_rows_and_unknown_targets_are_left_out():
    w = torch.tensor([1.0, 2, 0, 3, 1, 1, 0, 2, 1])
    again = torch.repeat_interleave(torch.arange(B), w.long())
    torch.testing.assert_close(
        regression.ccc(PRED, AFFECT, w), regression.ccc(PRED[again], AFFECT[again])
    )
    holes = AFFECT.clone()
    holes[:4, 0] = torch.nan
    value = regression.ccc_mse(PRED, holes)
    by_hand = [
        regression.ccc_mse(PRED[4:, :1], AFFECT[4:, :1]),
        regression.ccc_mse(PRED[:, 1:], AFFECT[:, 1:]),
    ]
    torch.testing.assert_close(value, sum(by_hand) / 2)
    assert grad(regression.ccc_mse)(PRED, holes).isfinite().all()
    holes[:, 0] = torch.nan  # one dimension nobody rated
    torch.testing.assert_close(regression.ccc_mse(PRED, holes), by_hand[1])


def test_constant_targets_say_nothing_about_concordance():
    flat = torch.full((B, 1), 0.3)
    assert float(regression.ccc_loss(PRED[:, :1], flat)) == 0
    assert grad(regression.ccc_loss)(PRED[:, :1], flat).isfinite().all()


def test_difference_equals_a_loop_and_is_zero_only_for_orthogonal_vectors():
    x, y = X.double().numpy(), Y.double().numpy()
    x, y = x - x.mean(0), y - y.mean(0)
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    y = y / np.linalg.norm(y, axis=1, keepdims=True)
    total = 0.0
    for i in range(D):
        for j in range(D):
            total += sum(x[b, i] * y[b, j] for b in range(B)) ** 2
    value = disentangle.difference(X.double(), Y.double())
    assert float(value) == pytest.approx(total / D**2, rel=1e-4)
    assert disentangle.difference(X, X) > disentangle.difference(X, Y)  # it pushes apart
    apart = torch.tensor([[1.0, 0], [-1, 0], [0, 0], [0, 0]])
    other = torch.tensor([[0.0, 0], [0, 0], [0, 1], [0, -1]])
    assert float(disentangle.difference(apart, other)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("order", [2, 3, 5])
def test_central_moments_equal_a_loop_and_vanish_for_equal_distributions(order):
    x, y = X.double().numpy(), Y.double().numpy()
    total = np.linalg.norm(x.mean(0) - y.mean(0))
    for k in range(2, order + 1):
        mx, my = ((x - x.mean(0)) ** k).mean(0), ((y - y.mean(0)) ** k).mean(0)
        total += np.linalg.norm(mx - my)
    value = disentangle.moments(X.double(), Y.double(), order=order)
    assert float(value) == pytest.approx(total)
    assert float(disentangle.moments(X, X.flip(0), order=order)) == pytest.approx(0, abs=1e-5)
    assert grad(disentangle.moments)(X, X).isfinite().all()


def test_reconstruction_is_the_mean_squared_error():
    torch.testing.assert_close(disentangle.reconstruction(X, Y), F.mse_loss(X, Y))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_distillation_equals_a_loop_and_is_zero_for_the_teacher_itself(temperature):
    s, t = LOGITS.double().numpy(), (3 * SHARES.double()).numpy()
    total = 0.0
    for i in range(B):
        p = np.exp(t[i] / temperature) / np.exp(t[i] / temperature).sum()
        q = np.exp(s[i] / temperature) / np.exp(s[i] / temperature).sum()
        total += temperature**2 * sum(p[c] * math.log(p[c] / q[c]) for c in range(C))
    student, teacher = LOGITS.double(), 3 * SHARES.double()
    value = distillation.kl(student, teacher, temperature=temperature)
    assert float(value) == pytest.approx(total / B)
    assert float(distillation.kl(teacher, teacher + 5)) == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(
        distillation.mse_on_logits(student, teacher), F.mse_loss(student, teacher)
    )
