"""Fusion models where a modality is missing: it has no influence, and something stands for it."""

import pytest
import torch
from fusion_models import batch, close, every_kind, small

from models.fusion.supervised import supervised_terms


@every_kind
def test_a_missing_modality_has_no_influence_whatever_stands_in_its_place(kind, many=3):
    model = small(kind, many, affect=True)
    inputs, present = batch(many)

    def filled(value):
        return {
            k: torch.where(present[:, i, None], v, value) for i, (k, v) in enumerate(inputs.items())
        }

    model.eval()
    clean = model(filled(0.0), present)
    for garbage in (torch.nan, torch.inf, 1e30):
        close(model(filled(garbage), present), clean)
    model.train()
    out = model(filled(torch.nan), present)
    loss = out.logits.square().sum() + sum(v.square().sum() for v in out.modality_logits.values())
    loss = loss + sum(model.auxiliary(out, inputs, present).values())
    loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@every_kind
def test_a_present_modality_and_its_absence_do_have_influence(kind):
    model = small(kind).eval()
    inputs, _ = batch()
    everything = torch.ones(9, 3, dtype=torch.bool)
    out = model(inputs, everything).logits
    for i, name in enumerate(inputs):
        changed = model({**inputs, name: inputs[name].flip(0)}, everything).logits
        without = everything.clone()
        without[:, i] = False
        assert not torch.allclose(out, changed, atol=1e-4), name
        assert not torch.allclose(out, model(inputs, without).logits, atol=1e-4), name


@every_kind
def test_nothing_present_is_finite_and_the_same_for_every_row(kind):
    model = small(kind).eval()
    inputs, _ = batch()
    out = model(inputs, torch.zeros(9, 3, dtype=torch.bool)).logits
    assert out.isfinite().all()
    torch.testing.assert_close(out, out[:1].expand_as(out))


@pytest.mark.parametrize("kind", ["attention", "topn_attention"])
def test_attention_weights_are_shares_of_present_modalities(kind):
    model = small(kind).eval()
    inputs, present = batch()
    share = model(inputs, present).extra["attention"]  # (B, M)
    torch.testing.assert_close(share.sum(1), present.any(1).float())
    assert ((share > 0) <= present).all()


def test_top_n_lets_only_so_many_through():
    model = small("topn_attention", top=1).eval()
    inputs, present = batch(rows=50)
    share = model(inputs, present).extra["attention"]
    assert ((share > 0).sum(1) == present.any(1)).all()


@pytest.mark.parametrize("kind", ["add", "low_rank", "tensor"])
def test_a_missing_modality_is_the_neutral_element(kind):
    pair = small(kind, 2).eval()
    inputs, _ = batch(2)
    only = torch.tensor([True, False]).expand(9, 2)
    h = pair.encoders([inputs["speech"], inputs["text"]], only)
    if kind == "add":
        expected = h[0]
    elif kind == "low_rank":
        f = pair.factor(h)[0].unflatten(-1, (pair.config.rank, -1))
        expected = (f * pair.rank_weight).sum(-2)
        expected = torch.nn.functional.layer_norm(expected, expected.shape[-1:])
    else:
        z = torch.nn.functional.pad(torch.tanh(pair.narrow(h)[0]), (0, 1), value=1.0)
        none = torch.zeros_like(z)
        none[:, -1] = 1
        outer = (z[:, :, None] * none[:, None, :]).flatten(1)
        expected = torch.nn.functional.gelu(pair.mix(outer))
    torch.testing.assert_close(pair(inputs, only).fused, expected)


@every_kind
def test_a_missing_modality_is_its_learned_vector(kind):
    model = small(kind).eval()
    inputs, present = batch()
    out = model(inputs, present)
    for i, name in enumerate(inputs):
        missing = model.encoders.missing[i].expand(int((~present[:, i]).sum()), -1)
        torch.testing.assert_close(out.embeddings[name][~present[:, i]], missing)


def test_mixer_averages_present_modalities():
    model = small("mlp_mixer", 2).eval()
    model.mixers = torch.nn.ModuleList()
    inputs, _ = batch(2)
    only = torch.tensor([True, False]).expand(9, 2)
    out = model(inputs, only)
    h = out.embeddings["speech"]
    torch.testing.assert_close(out.fused, torch.nn.functional.layer_norm(h, h.shape[-1:]))


@pytest.mark.parametrize("kind", ["private_shared", "misa"])
def test_learned_missing_vectors_never_enter_the_losses_of_pairs(kind):
    model = small(kind).eval()
    inputs, present = batch(rows=20)
    label = torch.arange(20) % 4 - 1

    def losses():
        out = model(inputs, present)
        own = {} if kind == "misa" else model.auxiliary(out, inputs, present)
        return own | supervised_terms(out, label, present, classes=3)

    before = losses()
    model.encoders.missing.data += 3 * torch.randn(model.encoders.missing.shape)
    for name, value in losses().items():
        torch.testing.assert_close(value, before[name], msg=name)
