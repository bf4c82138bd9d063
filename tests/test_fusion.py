"""Every fusion model: one interface, settings, rows and members independent."""

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
from fusion_models import C, batch, close, every_kind, every_size, seeded, small
from torch.func import functional_call, grad, stack_module_state, vmap

from models.fusion import FUSIONS, ContrastConfig, FusionConfig, build_fusion
from models.fusion.config import KINDS
from models.heads import Wide


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


def test_tensor_fusion_refuses_what_would_explode():
    dims = {f"speech.{i}": 4 for i in range(9)}
    with pytest.raises(ValueError, match="at most 8, got 9; use 'low_rank'"):
        build_fusion(FusionConfig(kind="tensor"), dims, 3)
    model = build_fusion(FusionConfig(kind="tensor"), dict(list(dims.items())[:8]), 3)
    assert model.mix.in_features <= 4096


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
