"""Soft votes over the heads a row has, weights and decisions that gold can carry."""

import pytest
import torch

from pseudo_label.voting import adjust, decision, fit_weights, soft_vote


def heads(rows=600, seed=0, noise=(0.5, 1.5, 4.0), classes=4):
    """Calibrated heads of falling ability, and the truth."""
    g = torch.Generator().manual_seed(seed)
    label = torch.randint(0, classes, (rows,), generator=g)
    signal = torch.nn.functional.one_hot(label, classes).float()
    probs = []
    for s in noise:
        x = signal + s * torch.randn(rows, classes, generator=g)
        probs.append((x / s**2).softmax(1))  # exact posterior
    return torch.stack(probs), label


def test_vote_equals_the_loop_over_present_heads():
    probs, _ = heads(50)
    g = torch.Generator().manual_seed(1)
    present = torch.rand(50, 3, generator=g) < 0.6
    weights = torch.tensor([0.5, 0.3, 0.2])
    broken = probs.masked_fill(~present.T[..., None], float("nan"))  # absent heads hold rubbish
    got = soft_vote(broken, weights, present)
    for i in range(50):
        here = [h for h in range(3) if present[i, h]]
        if not here:
            assert got[i].tolist() == [0.25] * 4
            continue
        total = sum(float(weights[h]) for h in here)
        expected = sum(weights[h] / total * probs[h, i] for h in here)
        assert torch.allclose(got[i], expected, atol=1e-6)


def test_vote_without_weights_is_the_mean():
    probs, _ = heads(20)
    assert torch.allclose(soft_vote(probs), probs.mean(0))
    assert soft_vote(probs[:, :0]).shape == (0, 4)


def test_fitted_weights_beat_equal_ones_and_favour_the_better_head():
    probs, label = heads()
    vote = fit_weights(probs, label)
    assert vote.weights[0] > vote.weights[1] > vote.weights[2]
    assert vote.nll < vote.nll_uniform
    assert sum(vote.weights) == pytest.approx(1) and min(vote.weights) > 0
    fresh, truth = heads(seed=5)
    uniform = -soft_vote(fresh).gather(1, truth[:, None]).log().mean()
    fitted = soft_vote(fresh, torch.tensor(vote.weights)).gather(1, truth[:, None])
    assert -fitted.log().mean() < uniform


def test_weights_are_shrunk_to_equal_ones_by_the_rows():
    probs, label = heads()
    vote = fit_weights(probs, label)
    assert vote.shrink == pytest.approx(600 / 900)
    expected = [(1 - vote.shrink) / 3 + vote.shrink * w for w in vote.fitted]
    assert vote.weights == pytest.approx(expected)
    few = fit_weights(probs[:, :10], label[:10])
    assert max(abs(w - 1 / 3) for w in few.weights) < 0.04
    none = fit_weights(probs[:, :0], label[:0])
    assert none.weights == pytest.approx([1 / 3] * 3) and "equal weights" in none.note


def test_fitted_weights_equal_a_grid_search():
    probs, label = heads(noise=(1.0, 1.5))
    vote = fit_weights(probs, label, penalty=0.0)
    grid = torch.linspace(0, 1, 201)
    losses = [
        float(-(w * probs[0] + (1 - w) * probs[1]).gather(1, label[:, None]).log().mean())
        for w in grid
    ]
    assert vote.fitted[0] == pytest.approx(
        float(grid[int(torch.tensor(losses).argmin())]), abs=0.01
    )


def test_weights_are_fitted_on_the_rows_a_head_has():
    probs, label = heads()
    present = torch.ones(600, 3, dtype=torch.bool)
    present[:, 0] = torch.arange(600) < 300
    probs[0, 300:] = float("nan")
    vote = fit_weights(probs, label, present)
    assert vote.weights[0] > vote.weights[2] and vote.nll == vote.nll


def test_decision_is_the_argmax_of_the_adjusted_probabilities():
    probs, _ = heads(100)
    prior = torch.tensor([0.7, 0.1, 0.1, 0.1])
    assert torch.equal(decision(probs[0], prior, 0.0), probs[0].argmax(1))
    assert torch.equal(decision(probs[0], prior, 1.0), adjust(probs[0], prior, 1.0).argmax(1))
    loops = [
        max(range(4), key=lambda c: float(row[c].log() - 0.8 * prior[c].log())) for row in probs[0]
    ]
    assert decision(probs[0], prior, 0.8).tolist() == loops


def test_a_head_that_knows_nothing_gets_no_vote():
    from pseudo_label.voting import informed_weights

    y = torch.arange(60) % 3
    sense = 0.8 * torch.nn.functional.one_hot(y, 3) + 0.2 / 3
    shares = torch.full((60, 3), 1 / 3)
    wrong = sense.roll(1, dims=1)
    weights = informed_weights(torch.stack([sense, shares, wrong]), y)
    assert weights.tolist() == pytest.approx([1.0, 0.0, 0.0], abs=1e-6)
    assert informed_weights(torch.stack([shares, wrong]), y).tolist() == [0.5, 0.5]
    present = torch.ones(60, 3, dtype=torch.bool)
    present[30:, 2] = False
    both = torch.stack([sense, sense, torch.where(present[:, 2:], sense, torch.nan)])
    assert informed_weights(both, y, present).tolist() == pytest.approx([1 / 3] * 3, abs=1e-6)
    fitted = fit_weights(torch.stack([sense, shares, wrong]), y, toward=weights)
    assert fitted.weights[0] > fit_weights(torch.stack([sense, shares, wrong]), y).weights[0]
