"""USB's algorithms as baselines: published thresholds step by step, learning, seeds, wiring."""

import numpy as np
import pytest
import torch
from bench_arrays import bench, write_features
from tiny_learning import tiny_dataset

import semi.experiments.benchmark.usb as usb
from semi.experiments.benchmark.cells import Cell, arms_of
from semi.experiments.benchmark.config import BASELINES
from semi.experiments.benchmark.results import Results
from semi.experiments.benchmark.usb import (
    ALGORITHMS,
    Taught,
    Weak,
    consistency,
    learning_rate,
    usb_arm,
)


def steps(algorithm, count=5, rows=8, classes=4, pool=20, seed=0):
    """Yields what an algorithm was shown at each recorded step, and what it taught."""
    draw = torch.Generator().manual_seed(seed)
    state = {"selected": torch.full((pool,), -1), "effect": torch.zeros(classes)}
    for _ in range(count):
        said = (3 * torch.randn(2 * rows, classes, generator=draw)).softmax(1)
        seen = Weak(said[:rows], said[rows:], torch.randperm(pool, generator=draw)[:rows], state)
        taught = algorithm(seen)
        state = state | taught.state
        yield seen, taught


def corrected(xs):
    """Returns the bias-corrected moving average of a list, by its definition."""
    m = usb.MOMENTUM
    share = [(1 - m) * m ** (len(xs) - 1 - i) for i in range(len(xs))]
    return sum(s * x for s, x in zip(share, xs, strict=True)) / sum(share)


def test_fixmatch_takes_rows_of_95_percent():
    for seen, taught in steps(usb.fixmatch):
        for p, label, weight in zip(seen.probs, taught.label, taught.weight, strict=True):
            assert weight == float(max(p) >= 0.95) and p[label] == max(p)


def test_flexmatch_counts_earlier_batches_and_then_this_one():
    last = {}
    for seen, taught in steps(usb.flexmatch, count=8):
        counts = [sum(v == c for v in last.values()) for c in range(4)]
        most = max(*counts, 20 - len(last))
        for row, p, weight in zip(seen.rows.tolist(), seen.probs, taught.weight, strict=True):
            effect = counts[int(p.argmax())] / most
            assert weight == float(max(p) >= 0.95 * effect / (2 - effect))
            if max(p) >= 0.95:
                last[row] = int(p.argmax())
    assert last


def test_freematch_follows_the_mean_confidence_and_the_mean_prediction():
    top, mean, hist = [], [], []
    for seen, taught in steps(usb.freematch):
        top.append(seen.probs.amax(1).mean())
        mean.append(seen.probs.mean(0))
        hist.append(torch.bincount(seen.probs.argmax(1), minlength=4) / 8)
        model = corrected(mean)
        tau = corrected(top) * model / model.max()
        wanted = (seen.probs.amax(1) >= tau[seen.probs.argmax(1)]).float()
        assert torch.equal(taught.weight, wanted)
        assert torch.allclose(taught.fair[0], model)
        assert torch.allclose(taught.fair[1], corrected(hist), atol=1e-6)


def test_softmatch_weighs_by_a_gaussian_of_uniformly_aligned_confidence():
    mean, mu, var = [], [], []
    for seen, taught in steps(usb.softmatch):
        mean.append(seen.probs.mean(0))
        aligned = seen.probs * (0.25 + 1e-6) / (corrected(mean) + 1e-6)
        top = (aligned / aligned.sum(1, keepdim=True)).amax(1)
        mu.append(top.mean())
        var.append(top.var())
        below = (top - corrected(mu)).clamp(max=0)
        wanted = (-(below**2) / (2 * corrected(var) / 4)).exp()
        assert torch.allclose(taught.weight, wanted, atol=1e-5)
        assert torch.equal(taught.label, seen.probs.argmax(1))  # labels are not aligned


def test_adamatch_aligns_to_the_labelled_batch_and_takes_a_share_of_its_confidence():
    mean, gold = [], []
    for seen, taught in steps(usb.adamatch):
        mean.append(seen.probs.mean(0))
        gold.append(seen.gold.mean(0))
        aligned = seen.probs * (corrected(gold) + 1e-6) / (corrected(mean) + 1e-6)
        aligned = aligned / aligned.sum(1, keepdim=True)
        bar = 0.95 * seen.gold.amax(1).mean()
        assert torch.equal(taught.label, aligned.argmax(1))
        assert torch.equal(taught.weight, (aligned.amax(1) >= bar).float())


def test_the_loss_is_a_mean_over_the_whole_batch_refused_rows_too():
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [5.0, 0.0]])
    label, weight = torch.tensor([0, 0, 1]), torch.tensor([1.0, 0.5, 0.0])
    each = -logits.log_softmax(1)[torch.arange(3), label]
    wanted = (each[0] + 0.5 * each[1]) / 3
    assert torch.isclose(consistency(logits, Taught(label, weight)), wanted)


def test_the_rate_is_that_of_the_published_schedule():
    assert learning_rate(0, 100) == pytest.approx(1 / 5)
    assert learning_rate(5, 100) == pytest.approx(1.0)
    assert learning_rate(100, 100) == pytest.approx(np.cos(7 / 16 * np.pi))


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_an_arm_learns_and_its_seed_repeats(kind, monkeypatch):
    monkeypatch.setattr(usb, "STEPS", 100)
    dataset = tiny_dataset(spread=0.4)
    told = usb_arm(dataset, kind, seed=1)
    true = dataset.label[dataset.test].numpy()
    assert (told.predicted == true).mean() > 0.8
    before = torch.random.get_rng_state()
    assert np.array_equal(usb_arm(dataset, kind, seed=1).predicted, told.predicted)
    assert torch.equal(torch.random.get_rng_state(), before)
    if kind != "usb_supervised":
        assert told.facts["precision"] > 0.7 and 0 < told.facts["coverage"] <= 1


def test_true_labels_of_the_pool_do_not_change_an_answer(monkeypatch):
    monkeypatch.setattr(usb, "STEPS", 40)
    first = usb_arm(tiny_dataset(spread=2.0), "usb_softmatch")
    hidden = tiny_dataset(spread=2.0)
    hidden.label[hidden.pool] = -1
    again = usb_arm(hidden, "usb_softmatch")
    assert np.array_equal(first.predicted, again.predicted)
    assert "precision" in first.facts and "precision" not in again.facts


def test_the_arms_are_in_the_benchmark_and_held_against_logistic_regression(tmp_path):
    config = bench(tmp_path, write_features(tmp_path / "toy.npz"), "baselines=[usb_fixmatch]")
    arms = arms_of(config, Cell("toy", 12, 0, 0, 0))
    assert {"logistic", "usb_fixmatch"} <= set(arms) and set(ALGORITHMS) <= set(BASELINES)
    assert Results(None, 0, {}).reference("usb_fixmatch") == "logistic"
