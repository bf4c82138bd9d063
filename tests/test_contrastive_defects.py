"""The published model's defects are not in ours.

Defect numbers are those of the published MR-CCL code as this project's survey lists them.
"""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from contrastive_models import (
    DIMS,
    all_present,
    model_of,
    seeded,
    talk,
    views,
)

from models.fusion import (
    ContrastConfig,
    contrastive_terms,
)
from models.fusion.contrastive import GROUPS, log_scales
from models.losses.contrastive import nt_xent
from noise import Corruption, NoiseConfig


def published_nt_xent(a, b, tau=1.0):
    """The published loss: the diagonal, a row with itself, is taken as its own partner."""
    z = torch.cat([a, b])
    s = z @ z.T / tau
    return F.cross_entropy(s / tau, torch.arange(len(z)))


def test_defect_1_the_positive_is_the_partner_not_the_row_itself():
    a = torch.randn(32, 16, generator=seeded(1))
    b = a + 0.1 * torch.randn(32, 16, generator=seeded(2))
    wrong = b[torch.randperm(32, generator=seeded(3))]
    theirs = published_nt_xent(a, b), published_nt_xent(a, wrong)
    torch.testing.assert_close(theirs[0], theirs[1])  # blind to whose partner is whose
    assert nt_xent(a, wrong, 1.0) > nt_xent(a, b, 1.0) + 0.5


def test_defect_2_vectors_are_normalised_and_the_temperature_is_bounded_and_used_once():
    model, x = model_of(3).eval(), talk(12, 3)
    clean, noisy = views(model, x, all_present(x), seeded())
    config = ContrastConfig()
    start = log_scales(clean, config)
    torch.testing.assert_close((-start).exp(), torch.full((3,), 0.1))
    value = contrastive_terms(model, clean, noisy, all_present(x))["noise/text"]
    by_hand = nt_xent(clean.projections["shared"][:, 1], noisy.projections["shared"][:, 1], 0.1)
    torch.testing.assert_close(value, by_hand)
    for far in (-1e4, 1e4):
        model.log_scale.data.fill_(far)
        tau = (-log_scales(model(x, all_present(x)), config)).exp()
        assert (tau >= 0.01 - 1e-6).all() and (tau <= 1 + 1e-6).all()
    longer = copy.copy(clean)
    longer.projections = {k: v if k == "log_scale" else 5 * v for k, v in clean.projections.items()}
    bigger = contrastive_terms(model, longer, noisy, all_present(x))
    for name, v in contrastive_terms(model, clean, noisy, all_present(x)).items():
        torch.testing.assert_close(bigger[name], v)  # growing norms buys nothing


def test_defect_2_each_group_learns_its_own_temperature_and_none_gets_stuck():
    model, x = model_of(3), talk(12, 3)
    for group in range(3):
        model.zero_grad()
        model.log_scale.data.fill_(1.5)
        clean, noisy = views(model, x, all_present(x), seeded())
        only = ContrastConfig(**{g: i == group for i, g in enumerate(GROUPS)})
        sum(contrastive_terms(model, clean, noisy, all_present(x), config=only).values()).backward()
        slope = model.log_scale.grad
        assert slope[group] != 0 and slope.isfinite().all()
        assert all(slope[other] == 0 for other in range(3) if other != group)
    fixed = ContrastConfig(tau=0.5, learn_tau=False)
    torch.testing.assert_close(
        log_scales(model(x, all_present(x)), fixed), torch.full((3,), math.log(2))
    )


def test_defect_3_a_row_is_not_its_own_negative():
    # two rows, opposite to each other, each equal to its partner: with itself in the
    # denominator the loss could not fall below ln 2
    a = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert float(nt_xent(a, a, 0.1)) == pytest.approx(0, abs=1e-6)


def test_defect_4_the_noise_loss_is_returned_and_moves_the_encoders():
    model, x = model_of(3, dropout=0.0), talk(12, 3)
    clean, noisy = views(model, x, all_present(x), seeded())
    only = ContrastConfig(modality=False, rest=False)
    terms = contrastive_terms(model, clean, noisy, all_present(x), config=only)
    assert set(terms) == {"noise/speech", "noise/text", "noise/video"}
    sum(terms.values()).backward()
    for layer in model.encoders.first:
        assert layer.weight.grad.abs().sum() > 0


def test_defect_5_every_modality_gets_noise_of_its_own():
    corrupt, generator = Corruption(NoiseConfig(impulse=0.0, dim_mask=0.0)), seeded()
    flat = {k: torch.ones(200, 64) for k in DIMS}
    gone = {k: corrupt(v, generator) for k, v in flat.items()}
    share = torch.stack([v.mean(1) for v in gone.values()])  # (M, B): follows each timestep
    assert torch.corrcoef(share).triu(1).abs().max() < 0.3
    other = Corruption(NoiseConfig(schedule="cosine", abar_min=0.9))
    assert other.signal.min() > corrupt.signal.min()  # and may have its own schedule


def test_defect_6_the_shared_projector_enters_the_loss():
    model, x = model_of(3), talk(12, 3)
    clean, noisy = views(model, x, all_present(x), seeded())
    for group in GROUPS:
        model.zero_grad()
        only = ContrastConfig(**{g: g == group for g in GROUPS})
        terms = contrastive_terms(model, clean, noisy, all_present(x), config=only)
        sum(terms.values()).backward(retain_graph=True)
        assert all(p.grad.abs().sum() > 0 for p in model.project.parameters()), group
    sum(contrastive_terms(model, clean, noisy, all_present(x)).values()).backward()
    assert model.project_rest.weight.grad.abs().sum() > 0


def test_defect_7_a_prediction_does_not_depend_on_batch_mates():
    model, x = model_of(3).eval(), talk(32, 3)
    whole = model(x, all_present(x))
    for rows in (slice(0, 1), slice(0, 4), slice(5, 13)):
        part = {k: v[rows] for k, v in x.items()}
        other = {k: torch.cat([v, 50 * torch.randn(9, v.shape[1])]) for k, v in part.items()}
        some = model(part, all_present(part)).logits
        torch.testing.assert_close(some, whole.logits[rows], atol=1e-5, rtol=1e-5)
        mixed = model(other, all_present(other)).logits[: len(some)]
        torch.testing.assert_close(mixed, some, atol=1e-5, rtol=1e-5)
