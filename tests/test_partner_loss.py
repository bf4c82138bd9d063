"""The contrastive losses' own way back equals autograd's through the plain formula, to 1e-6."""

import pytest
import torch
from torch.func import vmap

from models.fusion import ContrastConfig, FusionConfig, build_fusion, contrastive_terms
from models.fusion.contrastive import paired_terms, pairs_of
from models.losses.contrastive import clip_loss, nt_xent

E, G, B, D = 3, 2, 10, 6


def plain(a, b, scale, valid, same, own_view):
    """Mean over rows of log sum exp less the partner's score, both ways; one pair of views."""
    a, b = (torch.nn.functional.normalize(x[valid], dim=1) for x in (a, b))
    trusted = same[valid][:, valid]
    eye = torch.eye(len(a), dtype=torch.bool)
    a_b = (scale * a @ b.T).masked_fill(trusted & ~eye, -torch.inf)
    b_a = (scale * b @ a.T).masked_fill(trusted.T & ~eye, -torch.inf)
    if own_view:  # within a view `same` is read as it is, from either side
        b_a = (scale * b @ a.T).masked_fill(trusted & ~eye, -torch.inf)
        a_b = torch.cat([a_b, (scale * a @ a.T).masked_fill(trusted | eye, -torch.inf)], 1)
        b_a = torch.cat([b_a, (scale * b @ b.T).masked_fill(trusted | eye, -torch.inf)], 1)
    both = a_b.logsumexp(1) + b_a.logsumexp(1)
    return (0.5 * both - scale * (a * b).sum(1)).mean()


def fused(a, b, scale, valid, same, own_view):
    if own_view:
        return nt_xent(a, b, 1 / scale, valid=valid, same=same)
    return clip_loss(a, b, scale.log(), valid=valid, same=same)


def views(dtype, seed=0):
    generator = torch.Generator().manual_seed(seed)
    a, noise = torch.randn(2, E, G, B, D, generator=generator, dtype=torch.float64)
    b = 0.5 * a + noise
    known = torch.randint(-1, 4, (E, B), generator=generator)
    same = (known[..., :, None] == known[..., None, :]) & (known >= 0)[..., None]
    valid = torch.rand(G, B, generator=generator) > 0.3
    return [x.to(dtype).requires_grad_() for x in (a, b)], same, valid


def close(found, want, dtype, scale):
    """To 1e-9 of the largest value, float32 to 1e-6; at a scale of 100 it has a digit less."""
    found, want = found.detach(), want.detach()
    limit = 1e-6 * max(1, scale / 10) if dtype == torch.float32 else 1e-9
    assert float((found - want).abs().max()) < limit * max(1.0, float(want.abs().max()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("own_view", [True, False])
@pytest.mark.parametrize("size", [1.0, 10.0, 99.9])
def test_values_and_gradients_equal_the_plain_formula(dtype, own_view, size):
    (a, b), same, valid = views(dtype)
    scale = torch.full((E,), size, dtype=dtype, requires_grad=True)
    left, right, factor = (x.detach().double().requires_grad_() for x in (a, b, scale))
    want = torch.stack([
        torch.stack([plain(left[e, g], right[e, g], factor[e], valid[g], same[e], own_view)
                     for g in range(G)])
        for e in range(E)
    ])  # fmt: skip
    weight = torch.linspace(0.5, 2, E * G).view(E, G)
    slopes = torch.autograd.grad((weight * want).sum(), (left, right, factor))
    at_once = fused(a, b, scale[:, None], valid, same[:, None], own_view)
    by_vmap = vmap(lambda a, b, s, m: fused(a, b, s, valid, m, own_view))(a, b, scale, same)
    for found in (at_once, by_vmap):
        close(found, want, dtype, size)
        got = torch.autograd.grad((weight * found).sum(), (a, b, scale))
        for one, other in zip(got, slopes, strict=True):
            close(one, other, dtype, size)


@pytest.mark.parametrize("own_view", [True, False])
def test_only_what_needs_a_gradient_gets_one(own_view):
    (a, b), same, valid = views(torch.float64)
    value = fused(a.detach(), b, torch.tensor(5.0).double(), valid, same[:, None], own_view).sum()
    (slope,) = torch.autograd.grad(value, b)
    absent = ~valid.expand(E, G, B)
    assert (slope[absent] == 0).all() and (slope[~absent] != 0).any(-1).all()


@pytest.mark.parametrize("own_view", [True, False])
@pytest.mark.parametrize("rows", [0, 1])
def test_no_row_or_a_lone_one_is_finite_also_on_the_way_back(own_view, rows):
    (a, b), same, _ = views(torch.float32)
    few = torch.arange(B) < rows
    dirty = torch.where(few[:, None], a, torch.nan)
    value = fused(dirty, b, torch.tensor(10.0), few, same[:, None], own_view)
    assert (value.abs() < 1e-5).all()  # its partner is all that a lone row is compared with
    for slope in torch.autograd.grad(value.sum(), (a, b)):
        assert slope.isfinite().all() and (slope.abs() < 1e-5).all()


@pytest.mark.parametrize("many", [1, 2, 3])
@pytest.mark.parametrize("kind", ["contrastive", "contrastive_residual"])
def test_terms_of_stacked_members_are_those_of_each(kind, many):
    dims = dict(list({"speech": 9, "text": 7, "video": 8}.items())[:many])
    generator = torch.Generator().manual_seed(1)
    present = torch.rand(B, many, generator=generator) > 0.2
    config, members = ContrastConfig(), []
    for seed in range(E):
        torch.manual_seed(seed)
        model = build_fusion(FusionConfig(kind=kind, hidden=8, projection=D), dims, 3).eval()
        inputs = {m: torch.randn(2 * B, d, generator=generator) for m, d in dims.items()}
        out = model(inputs, torch.cat([present, present]))
        members.append((out.rows(0, B), out.rows(B, 2 * B)))
    _, same, _ = views(torch.float32)
    clean, noisy = (
        {k: torch.stack([pair[i].projections[k] for pair in members])
         for k in members[0][0].projections}
        for i in (0, 1)
    )  # fmt: skip
    pairs = pairs_of(list(dims), clean, noisy, present, config)
    found = paired_terms(pairs, clean["log_scale"], config, same)
    for e, (clean, noisy) in enumerate(members):
        want = contrastive_terms(None, clean, noisy, present, same=same[e], config=config)
        assert found.keys() == want.keys()
        for name, value in want.items():
            torch.testing.assert_close(found[name][e], value)
