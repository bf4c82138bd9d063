"""Terms of the contrastive loss: their switches, missing rows, members, negatives."""

import copy

import pytest
import torch
import torch.nn.functional as F
from contrastive_models import (
    all_present,
    expected_names,
    model_of,
    seeded,
    talk,
    views,
)
from torch.func import functional_call, grad, stack_module_state, vmap

from models.fusion import (
    ContrastConfig,
    contrastive_terms,
    group_means,
)
from models.fusion.contrastive import GROUPS, log_scales
from noise import Corruption


@pytest.mark.parametrize("many", [1, 2, 3])
def test_each_group_has_its_switch(many):
    model, x = model_of(many).eval(), talk(12, many)
    clean, noisy = views(model, x, all_present(x), seeded())
    for group in GROUPS:
        only = ContrastConfig(**{g: g == group for g in GROUPS})
        terms = contrastive_terms(model, clean, noisy, all_present(x), config=only)
        assert set(terms) == {n for n in expected_names(many) if n.startswith(group + "/")}
    off = ContrastConfig(modality=False, rest=False, noise=False)
    assert contrastive_terms(model, clean, noisy, all_present(x), config=off) == {}
    without = contrastive_terms(model, clean, None, all_present(x))
    groups = {"modality", "rest"} if many == 3 else {"modality"} if many == 2 else set()
    assert {n.split("/")[0] for n in without} == groups
    assert set(group_means(without)) == groups


@pytest.mark.parametrize("many", [1, 2, 3])
def test_missing_rows_are_absent_from_the_terms(many):
    model, x = model_of(many).eval(), talk(20, many)
    keep = torch.arange(20) < 12
    present = all_present(x) & keep[:, None]
    dirty = {k: torch.where(keep[:, None], v, torch.nan) for k, v in x.items()}
    clean, noisy = views(model, dirty, present, seeded())
    some = contrastive_terms(model, clean, noisy, present)
    by_weight = contrastive_terms(model, clean, noisy, all_present(x), row_weight=keep.float())
    alone = contrastive_terms(model, clean.rows(0, 12), noisy.rows(0, 12), present[:12])
    for name, value in some.items():
        torch.testing.assert_close(value, alone[name], msg=name)
        torch.testing.assert_close(by_weight[name], alone[name], msg=name)


@pytest.mark.parametrize("many", [2, 3])
def test_learned_missing_vectors_are_contrasted_with_nothing(many):
    model, x = model_of(many).eval(), talk(20, many)
    present = torch.rand(20, many, generator=seeded(1)) > 0.3

    def terms():
        clean, noisy = views(model, x, present, seeded())
        return contrastive_terms(model, clean, noisy, present)

    before = terms()
    model.encoders.missing.data += 3 * torch.randn(model.encoders.missing.shape)
    for name, value in terms().items():
        torch.testing.assert_close(value, before[name], msg=name)


def test_a_rest_with_one_modality_missing_still_counts_of_three():
    model, x = model_of(3).eval(), talk(10, 3)
    present = all_present(x)
    present[:, 2] = False
    clean, noisy = views(model, x, present, seeded())
    terms = contrastive_terms(model, clean, noisy, present)
    assert terms["rest/speech"] > 0 and terms["rest/video"] == 0
    assert terms["modality/speech-video"] == 0 and terms["noise/video"] == 0


@pytest.mark.parametrize("many", [1, 2, 3])
@pytest.mark.parametrize("rows", [0, 1])
def test_all_pairs_missing_is_zero_with_finite_gradients(many, rows):
    model, x = model_of(many), talk(6, many)
    present = all_present(x) & (torch.arange(6) < rows)[:, None]
    dirty = {k: torch.where(present[:, :1], v, torch.nan) for k, v in x.items()}
    clean, noisy = views(model, dirty, present, seeded())
    terms = contrastive_terms(model, clean, noisy, present)
    total = sum(terms.values())
    if rows == 0:
        assert all(v == 0 for v in terms.values())
    (total + clean.logits.sum()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("many", [1, 2, 3])
def test_terms_under_vmap_equal_one_member_at_a_time(many):
    members = [model_of(many, dropout=0.0) for _ in range(2)]
    for p in members[1].parameters():
        p.data += 0.1 * torch.randn(p.shape, generator=seeded(3))
    base = copy.deepcopy(members[0])
    x, weight = talk(10, many), torch.rand(2, 10, generator=seeded(4))
    noisy_x = {k: Corruption()(v, seeded()) for k, v in x.items()}
    present = torch.rand(10, many, generator=seeded(5)) > 0.2
    params, _ = stack_module_state(members)

    def loss(p, w):
        clean = functional_call(base, p, (x, present))
        noisy = functional_call(base, p, (noisy_x, present))
        return sum(contrastive_terms(base, clean, noisy, present, row_weight=w).values())

    stacked = vmap(grad(loss))(params, weight)
    for i, member in enumerate(members):
        loss(dict(member.named_parameters()), weight[i]).backward()
        for name, p in member.named_parameters():
            expected = torch.zeros_like(p) if p.grad is None else p.grad
            torch.testing.assert_close(stacked[name][i], expected, atol=1e-5, rtol=1e-3, msg=name)


def test_rows_of_the_same_class_are_no_negatives_and_the_switch_restores_them():
    model, x = model_of(2).eval(), talk(12, 2)
    label = torch.arange(12) % 3
    same = label[:, None] == label[None]
    clean, noisy = views(model, x, all_present(x), seeded())
    plain = contrastive_terms(model, clean, noisy, all_present(x))
    aware = contrastive_terms(model, clean, noisy, all_present(x), same)
    off = contrastive_terms(
        model, clean, noisy, all_present(x), same, config=ContrastConfig(drop_same_class=False)
    )
    for name in plain:
        assert aware[name] < plain[name]
        torch.testing.assert_close(off[name], plain[name])
    everything = contrastive_terms(model, clean, noisy, all_present(x), torch.ones_like(same))
    assert float(everything["modality/speech-text"].detach()) == pytest.approx(0, abs=1e-5)


def test_of_two_modalities_the_rest_is_the_noisy_fused_vector_and_half_the_gradient_flows():
    model, x = model_of(2, dropout=0.0), talk(10, 2)
    clean, noisy = views(model, x, all_present(x), seeded())
    clean = copy.copy(clean)
    clean.projections = {k: v.detach() for k, v in clean.projections.items()}
    only = ContrastConfig(modality=False, noise=False)
    fused = noisy.projections["fused"]
    fused.retain_grad()
    sum(contrastive_terms(model, clean, noisy, all_present(x), config=only).values()).backward()
    scale = log_scales(clean, only)[1].exp()
    leaf = fused.detach().clone().requires_grad_()
    total = 0.0
    for m in range(2):
        a = F.normalize(clean.projections["rest"][:, m], dim=1)
        s = scale * a @ F.normalize(leaf, dim=1).T
        total = total + 0.5 * (
            F.cross_entropy(s, torch.arange(10)) + F.cross_entropy(s.T, torch.arange(10))
        )
    total.backward()
    torch.testing.assert_close(fused.grad, 0.5 * leaf.grad)
