"""Logistic regression of all chains side by side: scikit-learn's optimum, for every chain."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from test_closed_form import clusters, hot

from semi.training.students.logistic import solve_logistic


def test_logistic_regression_equals_scikit_learns_for_every_chain():
    x, y = clusters(300)
    weight = torch.ones(2, 300)
    weight[1, 100:] = 0
    w, b = solve_logistic(x.double(), hot(y, 4).double().expand(2, -1, -1), weight.double(), 2.0)
    for i, n in ((0, 300), (1, 100)):
        theirs = LogisticRegression(C=0.5, max_iter=5000, tol=1e-8).fit(x[:n], y[:n])
        probs = (x.double() @ w[i] + b[i]).softmax(-1).numpy()
        assert np.abs(probs - theirs.predict_proba(x)).max() < 5e-3


@pytest.mark.parametrize("penalty", [0.3, 1.0])
def test_sure_rows_do_not_keep_logistic_regression_from_its_optimum(penalty):
    draw, y = torch.Generator().manual_seed(0), torch.arange(800) % 4
    x = torch.randn(800, 150, generator=draw) + 0.25 * torch.randn(4, 150, generator=draw)[y]
    x = 6 * x / (1 + torch.arange(150)).sqrt()  # the bound that the solver begins with is loose
    theirs = LogisticRegression(C=1 / penalty, max_iter=20_000, tol=1e-9).fit(x.double(), y)
    w, b = solve_logistic(x, hot(y, 4)[None], torch.ones(1, 800), penalty)
    probs = (x @ w[0] + b[0]).softmax(-1).double().numpy()
    assert np.abs(probs - theirs.predict_proba(x.double())).max() < 2e-3


def test_a_chain_of_logistic_regression_does_not_hang_on_the_chains_beside_it():
    x, y = clusters(400)
    other = y[torch.randperm(400, generator=torch.Generator().manual_seed(1))]
    weight = torch.ones(2, 400)
    weight[0, ::5] = 0
    alone = solve_logistic(x, hot(y, 4)[None], weight[:1], 3.0)
    beside = solve_logistic(x, torch.stack([hot(y, 4), hot(other, 4)]), weight, 3.0)
    one, two = ((x @ w[0] + b[0]).softmax(-1) for w, b in (alone, beside))
    assert torch.allclose(one, two, atol=2e-3)


def test_soft_targets_and_rows_of_no_weight_leave_logistic_regression_at_a_minimum():
    x, y = clusters(200)
    soft = (0.7 * hot(y, 4) + 0.3 * hot((y + 1) % 4, 4)).double()[None]
    weight = torch.rand(1, 200, generator=torch.Generator().manual_seed(2)).double()
    weight[:, ::3] = 0
    w, b = (t.requires_grad_() for t in solve_logistic(x.double(), soft, weight, 2.0))
    log_probs = (x.double() @ w + b[:, None]).log_softmax(-1)
    loss = -((log_probs * soft).sum(-1) * weight).sum() + w.square().sum()
    slope = torch.autograd.grad(loss, (w, b))
    assert max(float(g.abs().max()) for g in slope) < 1e-3 * float(weight.sum())
