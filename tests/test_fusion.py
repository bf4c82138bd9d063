"""Every fusion model: one interface, rows independent, missing values without influence."""

import copy
import dataclasses
import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call, grad, stack_module_state, vmap

from models.fusion import FUSIONS, ContrastConfig, FusionConfig, build_fusion
from models.fusion.base import masked_mean
from models.fusion.config import KINDS
from models.fusion.supervised import supervised_terms
from models.heads import Wide

DIMS = {"speech": 10, "text": 7, "speech.3": 5}
C = 4
every_kind = pytest.mark.parametrize("kind", KINDS)
every_size = pytest.mark.parametrize("many", [1, 2, 3])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def small(kind, many=3, **change):
    torch.manual_seed(0)
    dims = dict(list(DIMS.items())[:many])
    config = FusionConfig(kind=kind, hidden=16, projection=8, layers=2, heads=2, **change)
    return build_fusion(config, dims, C)


def batch(many=3, rows=9, seed=0):
    dims = list(DIMS.items())[:many]
    inputs = {k: torch.randn(rows, d, generator=seeded(seed + i)) for i, (k, d) in enumerate(dims)}
    present = torch.rand(rows, many, generator=seeded(seed + 9)) > 0.4
    present[0] = False  # one row with nothing at all
    present[1] = True
    return inputs, present


def close(a, b):
    for name, value in a.tensors().items():
        torch.testing.assert_close(value, b.tensors()[name], atol=1e-5, rtol=1e-5, msg=name)


def test_the_config_names_exactly_the_models_there_are():
    assert list(FUSIONS) == list(KINDS)


def test_an_unknown_kind_lists_the_known_and_the_nearest():
    with pytest.raises(ValueError, match=re.escape("got 'contrastiv'; did you mean 'contrastive'")):
        FusionConfig(kind="contrastiv")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"hidden": 0}, "hidden must be >= 1, got 0"),
        ({"dropout": 1.0}, "dropout must be in [0, 1), got 1.0"),
        ({"kind": "misa", "hidden": 30, "heads": 4}, "heads must divide hidden=30, got 4"),
    ],
)
def test_a_bad_fusion_setting_is_one_sentence(change, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        FusionConfig(**change)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"tau": 0.0}, "tau must be between 0.01 and 1, got 0.0"),
        ({"weight": -1.0}, "weight must be >= 0, got -1.0"),
        ({"pretrain_batch": 1}, "pretrain_batch must be >= 2, got 1"),
    ],
)
def test_a_bad_contrast_setting_is_one_sentence(change, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        ContrastConfig(**change)


def test_reading_the_settings_does_not_import_torch():
    code = (
        "import sys, models.fusion.config, noise.config; "
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    root = Path(__file__).resolve().parents[1]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)


@every_kind
@every_size
def test_shapes(kind, many):
    model = small(kind, many, affect=True)
    inputs, present = batch(many)
    out = model(inputs, present)
    assert out.logits.shape == (9, C) and out.affect.shape == (9, 2)
    assert list(out.modality_logits) == list(inputs)
    assert all(v.shape == (9, C) for v in out.modality_logits.values())
    assert list(out.embeddings) == list(inputs)
    assert all(v.shape == (9, 16) for v in out.embeddings.values())
    assert out.fused.shape[0] == 9 and out.fused.dim() == 2
    assert small(kind, many).eval()(inputs, present).affect is None


@every_kind
def test_a_row_alone_equals_the_row_in_a_batch(kind, many=3):
    model = small(kind, many, affect=True).eval()
    inputs, present = batch(many)
    whole = model(inputs, present)
    for i in range(9):
        alone = model({k: v[i : i + 1] for k, v in inputs.items()}, present[i : i + 1])
        close(alone, whole.rows(i, i + 1))
    order = torch.randperm(9, generator=seeded(5))
    mixed = model({k: v[order] for k, v in inputs.items()}, present[order])
    torch.testing.assert_close(mixed.logits, whole.logits[order], atol=1e-5, rtol=1e-5)


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


@every_kind
def test_vmap_over_members_equals_one_at_a_time(kind, many=3):
    models = [small(kind, many, affect=True).eval() for _ in range(2)]
    for p in models[1].parameters():
        p.data += 0.1 * torch.randn(p.shape, generator=seeded(3))
    base = copy.deepcopy(models[0])
    inputs, present = batch(many)
    params, _ = stack_module_state(models)
    weight = torch.rand(2, 9, generator=seeded(4))

    def loss(p, x, w):
        out = functional_call(base, p, (x, present))
        total = (out.logits.square().sum(-1) * w).sum() + out.affect.square().sum()
        return total + sum(base.auxiliary(out, x, present, w).values())

    stacked = vmap(grad(loss), (0, None, 0), randomness="different")(params, inputs, weight)
    for i, model in enumerate(models):
        loss(dict(model.named_parameters()), inputs, weight[i]).backward()
        for name, p in model.named_parameters():
            expected = torch.zeros_like(p) if p.grad is None else p.grad
            torch.testing.assert_close(stacked[name][i], expected, atol=2e-4, rtol=1e-3, msg=name)


@every_kind
def test_members_draw_different_dropout(kind):
    model = small(kind).train()
    inputs, _ = batch()
    present = torch.ones(9, 3, dtype=torch.bool)
    params, _ = stack_module_state([model, copy.deepcopy(model)])

    def logits(p):
        return functional_call(model, p, (inputs, present)).logits

    out = vmap(logits, randomness="different")(params)
    assert not torch.allclose(out[0], out[1])


@every_kind
def test_config_dims_and_classes_rebuild_the_model(kind):
    model = small(kind, affect=True, depth=2).eval()
    text = json.dumps(
        {"config": dataclasses.asdict(model.config), "dims": model.dims, "classes": model.classes}
    )
    read = json.loads(text)
    again = build_fusion(FusionConfig(**read["config"]), read["dims"], read["classes"])
    again.load_state_dict(model.state_dict(), strict=True)
    inputs, present = batch()
    close(again.eval()(inputs, present), model(inputs, present))
    assert not list(model.buffers())


def test_parameters_at_the_challenge_dimensions():
    dims = {"speech": 1024, "text": 768, "video": 5120}
    for hidden in (FusionConfig().hidden, 256):
        model = build_fusion(FusionConfig(hidden=hidden), dims, 6)
        assert sum(p.numel() for p in model.parameters()) < 5_000_000
    for kind in KINDS:
        model = build_fusion(FusionConfig(kind=kind), dims, 6)
        assert sum(p.numel() for p in model.parameters()) < 5_000_000, kind


@every_kind
def test_sequences_are_read_without_their_padding(kind):
    model = small(kind).eval()
    inputs, present = batch()
    frames = {k: torch.randn(9, 6, v.shape[1], generator=seeded(7)) for k, v in inputs.items()}
    length = torch.tensor([1, 2, 3, 4, 5, 6, 6, 2, 1])
    mask = torch.arange(6) < length[:, None]
    masks = dict.fromkeys(frames, mask)
    dirty = {k: torch.where(mask[..., None], v, torch.nan) for k, v in frames.items()}
    longer = {k: torch.cat([v, torch.full_like(v, 7.0)], 1) for k, v in frames.items()}
    more = {k: torch.cat([m, torch.zeros_like(m)], 1) for k, m in masks.items()}
    whole = model(frames, present, masks)
    close(model(dirty, present, masks), whole)
    close(model(longer, present, more), whole)
    for i in (3, 8):
        n = int(length[i])
        alone = model({k: v[i : i + 1, :n] for k, v in frames.items()}, present[i : i + 1])
        close(alone, whole.rows(i, i + 1))


@every_kind
def test_a_vector_is_a_sequence_of_length_one(kind):
    model = small(kind).eval()
    inputs, present = batch()
    close(model({k: v[:, None] for k, v in inputs.items()}, present), model(inputs, present))


def test_cross_attention_reads_the_order_of_frames():
    model = small("cross_attention").eval()
    frames = {k: torch.randn(2, 6, d, generator=seeded(7)) for k, d in DIMS.items()}
    present = torch.ones(2, 3, dtype=torch.bool)
    turned = {k: v.flip(1) for k, v in frames.items()}
    assert not torch.allclose(model(frames, present).logits, model(turned, present).logits)
    first = model({**frames, "text": frames["text"].roll(1, 0)}, present)
    moved = first.logits - model(frames, present).logits
    assert moved.abs().max() > 1e-3  # speech looked at text


def test_cross_attention_without_real_frames_is_a_missing_modality():
    model = small("cross_attention").eval()
    frames = {k: torch.randn(2, 6, d, generator=seeded(7)) for k, d in DIMS.items()}
    present = torch.ones(2, 3, dtype=torch.bool)
    masks = {"text": torch.zeros(2, 6, dtype=torch.bool)}
    absent = torch.tensor([True, False, True]).expand(2, 3)
    close(model(frames, present, masks), model(frames, absent))


def test_masked_mean_averages_real_frames_only():
    x = torch.tensor([[[1.0], [3.0], [torch.nan]], [[5.0], [torch.nan], [torch.nan]]])
    mask = torch.tensor([[True, True, False], [False, False, False]])
    assert masked_mean(x, mask).tolist() == [[2.0], [0.0]]


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


def test_tensor_fusion_refuses_what_would_explode():
    dims = {f"speech.{i}": 4 for i in range(9)}
    with pytest.raises(ValueError, match="at most 8, got 9; use 'low_rank'"):
        build_fusion(FusionConfig(kind="tensor"), dims, 3)
    model = build_fusion(FusionConfig(kind="tensor"), dict(list(dims.items())[:8]), 3)
    assert model.mix.in_features <= 4096


@pytest.mark.parametrize("kind", ["private_shared", "misa"])
def test_private_and_shared_vectors_can_be_told_apart_by_training(kind):
    model = small(kind, dropout=0.0)
    inputs, _ = batch(rows=64)
    present = torch.rand(64, 3, generator=seeded(1)) > 0.2
    out = model(inputs, present)
    assert out.extra["private"].shape == out.extra["shared"].shape == (64, 3, 16)
    assert (out.extra["shared"] < 0).any()  # not sigmoids: cosines of either sign
    names = {"difference", "moments"} | ({"reconstruction"} if kind == "misa" else set())
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    history = []
    for _ in range(60):
        losses = model.auxiliary(model(inputs, present), inputs, present)
        assert set(losses) == names
        history.append({k: float(v.detach()) for k, v in losses.items()})
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    for name in names:
        assert history[-1][name] < 0.5 * history[0][name], name


def test_auxiliary_losses_carry_their_weight():
    inputs, present = batch()
    once, thrice = (small("misa", auxiliary_weight=w).eval() for w in (0.1, 0.3))
    for name, value in once.auxiliary(once(inputs, present), inputs, present).items():
        other = thrice.auxiliary(thrice(inputs, present), inputs, present)[name]
        torch.testing.assert_close(other, 3 * value)


def test_auxiliary_losses_leave_out_missing_rows():
    model = small("misa").eval()
    inputs, present = batch()
    keep = present.all(1)
    keep[2] = present[2] = True
    everyone = present & keep[:, None]
    out = model(inputs, everyone)
    subset = model({k: v[keep] for k, v in inputs.items()}, everyone[keep])
    here = model.auxiliary(out, inputs, everyone)
    there = model.auxiliary(subset, inputs, everyone[keep])
    for name, value in here.items():
        torch.testing.assert_close(value, there[name], msg=name)
    by_weight = model.auxiliary(model(inputs, present), inputs, present, keep.float())
    for name in ("difference", "moments"):
        torch.testing.assert_close(by_weight[name], there[name], msg=name)


@pytest.mark.parametrize("kind", ["contrastive", "private_shared"])
def test_supervised_terms_use_all_anchors_and_skip_what_is_alone(kind):
    model = small(kind, dropout=0.0)
    inputs, _ = batch(rows=24)
    present = torch.rand(24, 3, generator=seeded(2)) > 0.2
    label = torch.arange(24) % 4 - 1  # -1, 0, 1, 2
    label[1] = 3  # alone in its class

    def total(m):
        out = m(inputs, present)
        return sum(supervised_terms(out, label, present, classes=4).values())

    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    start = float(total(model).detach())
    for _ in range(80):
        optimizer.zero_grad()
        total(model).backward()
        optimizer.step()
    assert float(total(model).detach()) < start - 1
    out = model(inputs, present)
    nobody = torch.full((24,), -1)
    assert sum(supervised_terms(out, nobody, present).values()) == 0
    assert "inter" not in supervised_terms(
        small(kind, 1)({"speech": inputs["speech"]}, present[:, :1]), label, present[:, :1]
    )


def test_rows_takes_two_views_run_as_one_batch_apart():
    model = small("contrastive", affect=True).eval()
    inputs, present = batch()
    other, _ = batch(seed=50)
    both = {k: torch.cat([inputs[k], other[k]]) for k in inputs}
    whole = model(both, torch.cat([present, present]))
    close(whole.rows(0, 9), model(inputs, present))
    close(whole.rows(9, 18), model(other, present))


def test_rows_keeps_temperatures_whole_even_in_a_batch_of_three():
    model = small("contrastive").eval()
    inputs, present = batch(rows=3)
    out = model(inputs, present).rows(0, 1)
    assert out.projections["log_scale"].shape == (3,)
    assert out.projections["shared"].shape == (1, 3, 8)


def test_deeper_encoder_layers_are_residual():
    deep, flat = small("concat", depth=3).eval(), small("concat").eval()
    deep.load_state_dict(flat.state_dict(), strict=False)
    for layer in deep.encoders.deep:
        for p in layer.parameters():
            p.data.zero_()  # each adds gelu(0) = 0
    inputs, present = batch()
    close(deep(inputs, present), flat(inputs, present))


@pytest.mark.parametrize("width", [3, 64])
def test_a_narrow_modality_keeps_its_level_and_a_wide_one_loses_it(width):
    model = build_fusion(FusionConfig(hidden=16), {"bio": width}, 2).eval()
    x = torch.randn(1, width)
    louder = 2 * x + 1
    present = torch.ones(1, 1, dtype=torch.bool)
    one, two = (model({"bio": v}, present).logits for v in (x, louder))
    assert torch.allclose(one, two, atol=1e-4) is (width >= 32)


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("shape", [(6, 5), (2, 3, 5), (0, 5)])
def test_a_wide_layer_is_a_linear_layer_with_the_same_gradients(shape, stacked):
    torch.manual_seed(0)
    layer, x = Wide(5, 4), torch.randn(shape)
    params = {k: v.detach().expand(3, *v.shape).clone() for k, v in layer.named_parameters()}
    params["weight"] += torch.randn(3, 4, 5)

    def cost(p, rows, plain):
        y = F.linear(rows, **p) if plain else functional_call(layer, p, (rows,))
        return y.square().sum(), y

    told = []
    for plain in (False, True):
        one = grad(partial(cost, plain=plain), argnums=(0, 1), has_aux=True)
        if stacked:
            told.append(vmap(one, in_dims=(0, None))(params, x))
        else:
            told.append(one({k: v[1] for k, v in params.items()}, x))
    torch.testing.assert_close(told[0], told[1])
    with torch.no_grad():
        assert torch.equal(layer.eval()(x), F.linear(x, layer.weight, layer.bias))
