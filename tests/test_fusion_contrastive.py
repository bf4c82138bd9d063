"""The contrastive model: its pairs teach, and its space does not collapse."""

import copy

import pytest
import torch
import torch.nn.functional as F
from contrastive_models import all_present, expected_names, model_of, seeded, talk, views

from models.fusion import (
    contrastive_terms,
    group_means,
    permutation_control,
    retrieval_at_1,
)
from models.fusion import diagnostics as diag


@pytest.fixture(scope="module", params=[1, 2, 3])
def taught(request):
    """A model after 200 contrastive steps on the toy, with unseen rows to judge it by."""
    many = request.param
    model, inputs = model_of(many, dropout=0.1), talk(256, many)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    generator = seeded(7)
    before = copy.deepcopy(model)
    for _ in range(200):
        pick = torch.randperm(256, generator=generator)[:48]
        x = {k: v[pick] for k, v in inputs.items()}
        clean, noisy = views(model, x, all_present(x), generator)
        terms = contrastive_terms(model, clean, noisy, all_present(x))
        optimizer.zero_grad()
        sum(group_means(terms).values()).backward()
        optimizer.step()
    return many, before.eval(), model.eval(), talk(100, many, seed=50)


def judged(model, held):
    with torch.no_grad():
        clean, noisy = views(model, held, all_present(held), seeded(3))
    return clean, noisy, all_present(held)


def test_after_200_steps_true_partners_cost_much_less_than_wrong_ones(taught):
    many, before, model, held = taught
    gap = permutation_control(model, *judged(model, held))
    assert set(gap) == expected_names(many)
    assert all(float(v) > 0.5 for v in gap.values()), gap
    untaught = permutation_control(before, *judged(before, held))
    for name in gap:
        assert gap[name] > untaught[name]


def test_retrieval_on_unseen_rows_rises_from_chance(taught):
    many, before, model, held = taught
    start = retrieval_at_1(before, *judged(before, held))
    end = retrieval_at_1(model, *judged(model, held))
    for name in expected_names(many):
        if name.startswith("noise"):  # a noisy view resembles its own row from the start
            assert float(end[name]) > 0.25, name
        else:
            assert float(start[name]) < 0.1, name
            assert float(end[name]) > 0.6, name


def test_the_space_has_not_collapsed(taught):
    _, _, model, held = taught
    clean, _, _ = judged(model, held)
    z = clean.projections["shared"].transpose(0, 1)  # (M, B, P)
    assert (diag.uniformity(z) < -1).all()
    assert (diag.effective_rank(z) > 0.3 * 16).all()
    if len(z) > 1:
        assert diag.alignment(z[0], z[1]) < 0.5 < diag.alignment(z[0], z[1].roll(1, 0))


def test_diagnostics_of_isotropic_vectors_have_their_known_values():
    z = torch.randn(4000, 128, generator=seeded(1))
    assert float(diag.uniformity(z[:1500])) == pytest.approx(-3.94, abs=0.02)
    assert float(diag.effective_rank(z)) == pytest.approx(127, abs=1)
    other = torch.randn(4000, 128, generator=seeded(2))
    assert float(diag.alignment(z, other)) == pytest.approx(2, abs=0.02)
    assert float(diag.alignment(z, 3 * z)) == pytest.approx(0, abs=1e-5)


def test_diagnostics_of_a_collapsed_space_and_of_masked_rows():
    line = torch.arange(1.0, 101.0)[:, None] * torch.ones(1, 32)
    assert float(diag.effective_rank(line)) == pytest.approx(1, abs=0.01)
    assert float(diag.uniformity(line)) == pytest.approx(0, abs=1e-4)
    z = 2 + torch.randn(60, 8, generator=seeded(3))
    torch.testing.assert_close(diag.effective_rank(z), diag.effective_rank(z + 9))
    ok = torch.arange(60) < 40
    dirty = torch.where(ok[:, None], z, torch.nan)
    for f in (diag.uniformity, diag.effective_rank):
        torch.testing.assert_close(f(dirty, ok), f(z[:40]))
        assert f(z, torch.zeros(60, dtype=torch.bool)).isfinite()
    for f in (diag.alignment, diag.retrieval):
        torch.testing.assert_close(f(dirty, dirty.roll(1, 1), ok), f(z[:40], z[:40].roll(1, 1)))
        assert f(z, z, torch.zeros(60, dtype=torch.bool)) == 0


def test_retrieval_counts_nearest_partners_both_ways():
    a = torch.eye(4)
    assert diag.retrieval(a, a) == 1
    assert diag.retrieval(a, a.roll(1, 0)) == 0
    b = a.clone()
    b[1] = b[0] + 0.01 * a[1]
    s = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T
    hits = [int(s[i].argmax()) == i for i in range(4)] + [
        int(s[:, i].argmax()) == i for i in range(4)
    ]
    assert float(diag.retrieval(a, b)) == pytest.approx(sum(hits) / 8)
