"""fairseq checkpoints: numbers, settings and spellings; what cannot be used is named."""

import argparse
import re
import sys
import types

import numpy as np
import pytest
import torch
from fairseq_files import (
    MODEL,
    SHARED,
    fairseq_names,
    reference,
    same,
    save,
)

from models.encoders.fairseq import convert, load_checkpoint, load_fairseq
from models.encoders.fairseq_settings import conv_layers
from models.encoders.unpickle import CheckpointError, load_inert, plain


@pytest.mark.parametrize("folder", ["fairseq_tiny_hubert", "fairseq_tiny_hubert_large"])
def test_genuine_fairseq_numbers_at_every_layer(folder):
    root = SHARED / folder
    if not root.is_dir():
        pytest.skip("genuine fairseq checkpoints are not at hand")
    loaded = load_fairseq(root / "ckpt.pt")
    assert loaded.normalize == ("large" in folder)
    wave = torch.from_numpy(np.load(root / "wave.npy"))[None]
    if loaded.normalize:
        wave = torch.nn.functional.layer_norm(wave, wave.shape[1:])
    last = []  # before the final LayerNorm; transformers 4 has it after that in hidden_states
    loaded.model.encoder.layers[-1].register_forward_hook(lambda *call: last.append(call[2]))
    with torch.no_grad():
        output = loaded.model(wave, output_hidden_states=True)
        convolved = loaded.model.feature_extractor(wave)
    got = {
        "conv_features": convolved,
        "features_layer1": output.hidden_states[1],
        "features_layer2": last[0][0] if isinstance(last[0], tuple) else last[0],
        "features_final": output.last_hidden_state,
    }
    for name, value in got.items():
        np.testing.assert_allclose(value.numpy(), np.load(root / f"{name}.npy"), atol=1e-4, rtol=0)


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("kind", ["hubert", "wav2vec2"])
def test_a_written_file_comes_back_exactly(tmp_path, kind, large):
    model = reference(kind, large)
    settings = {**MODEL, "_name": kind, "layer_norm_first": large}
    settings["extractor_mode"] = "layer_norm" if large else "default"
    path = save(tmp_path / "a.pt", fairseq_names(model, large), settings, {"normalize": large})
    loaded = load_fairseq(path)
    assert (loaded.kind, loaded.normalize) == (kind, large)
    assert loaded.ignored == ["final_proj.weight", "label_embs_concat"]
    assert type(loaded.model) is type(model) and not loaded.model.training
    assert same(loaded.model, model) == 0


@pytest.mark.parametrize("zipped", [True, False])
def test_settings_of_argparse_in_either_file_format(tmp_path, zipped):
    model = reference("wav2vec2")
    flat = {**MODEL, "arch": "wav2vec2", "normalize": True, "activation_fn": "relu"}
    flat.pop("_name")
    expected = reference("wav2vec2", hidden_act="relu")
    content = {"args": argparse.Namespace(**flat), "model": fairseq_names(model)}
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    loaded = load_fairseq(tmp_path / "a.pt")
    assert (loaded.kind, loaded.normalize) == ("wav2vec2", True)
    assert same(loaded.model, expected) == 0


def test_settings_of_omegaconf_and_objects_of_fairseq(tmp_path, monkeypatch):
    omegaconf = pytest.importorskip("omegaconf")
    module = types.ModuleType("fairseq.data.dictionary")
    module.Dictionary = type("Dictionary", (), {"__module__": "fairseq.data.dictionary"})
    for name in ("fairseq", "fairseq.data", "fairseq.data.dictionary"):
        monkeypatch.setitem(sys.modules, name, module)
    dictionary = module.Dictionary()
    dictionary.symbols = ["a"]
    cfg = omegaconf.OmegaConf.create({"model": MODEL, "task": {"normalize": False}})
    model = reference()
    content = {"cfg": cfg, "model": fairseq_names(model), "task_state": {"d": [dictionary]}}
    torch.save(content, tmp_path / "a.pt")
    monkeypatch.undo()
    assert same(load_fairseq(tmp_path / "a.pt").model, model) == 0
    read = load_inert(tmp_path / "a.pt")
    assert plain(read["cfg"]) == {"model": MODEL, "task": {"normalize": False}}
    inert = read["task_state"]["d"][0]
    assert isinstance(inert, dict) and inert["symbols"] == ["a"]


@pytest.mark.parametrize("prefix", ["w2v_encoder.w2v_model.", "w2v_model."])
def test_the_encoder_inside_a_fine_tuned_model(tmp_path, prefix):
    model = reference("wav2vec2")
    weights = {prefix + name: value for name, value in fairseq_names(model).items()}
    weights["w2v_encoder.proj.weight"] = torch.zeros(4, 16)
    inner = argparse.Namespace(**{**MODEL, "_name": None, "arch": "wav2vec2"})
    settings = {"_name": "wav2vec_ctc", "w2v_args": inner, "dropout": 0.0}
    loaded = load_fairseq(save(tmp_path / "a.pt", weights, settings, {"normalize": True}))
    assert (loaded.kind, loaded.normalize) == ("wav2vec2", True)
    assert "w2v_encoder.proj.weight" in loaded.ignored
    assert same(loaded.model, model) == 0


def test_s3prl_file(tmp_path):
    model = reference()
    content = {"task_cfg": {"normalize": True}, "model_cfg": MODEL, "dictionaries_symbols": [["a"]]}
    torch.save({**content, "model_weight": fairseq_names(model)}, tmp_path / "a.ckpt")
    loaded = load_checkpoint(tmp_path / "a.ckpt")
    assert loaded.normalize and same(loaded.model, model) == 0


@pytest.mark.parametrize("large", [False, True])
def test_torchaudio_file_has_no_settings(tmp_path, large):
    """Its architecture is read from shapes, where a published width tells the heads."""
    changes = {"hidden_size": 768, "num_attention_heads": 12, "num_conv_pos_embedding_groups": 16}
    model = reference(large=large, num_hidden_layers=1, **changes)
    weights = {}
    for name, value in model.state_dict().items():
        if name == "masked_spec_embed":
            continue
        name = name.replace("feature_projection.", "encoder.feature_projection.")
        name = re.sub(r"^encoder\.(pos_conv|layer)", r"encoder.transformer.\1", name)
        name = name.replace("parametrizations.weight.original0", "weight_g")
        weights[name.replace("parametrizations.weight.original1", "weight_v")] = value
    weights["aux.weight"] = torch.zeros(4, 768)
    torch.save(weights, tmp_path / "a.pth")
    loaded = load_checkpoint(tmp_path / "a.pth")
    assert loaded.normalize == large and loaded.ignored == ["aux.weight"]
    assert same(loaded.model, model) == 0


def test_weight_norm_in_all_three_spellings(tmp_path):
    model = reference()
    weights = fairseq_names(model)
    g, v = weights.pop("encoder.pos_conv.0.weight_g"), weights.pop("encoder.pos_conv.0.weight_v")
    start = "encoder.pos_conv.0.parametrizations.weight.original"
    path = save(tmp_path / "new.pt", {**weights, start + "0": g, start + "1": v})
    assert same(load_fairseq(path).model, model) == 0
    product = v / v.norm(dim=(0, 1), keepdim=True) * g
    path = save(tmp_path / "plain.pt", {**weights, "encoder.pos_conv.0.weight": product})
    assert same(load_fairseq(path).model, model) < 1e-6


def test_equal_widths_need_no_projection(tmp_path):
    model = reference(conv_dim=(16, 16, 16))
    with torch.no_grad():
        model.feature_projection.projection.weight.copy_(torch.eye(16))
        model.feature_projection.projection.bias.zero_()
    weights = fairseq_names(model)
    del weights["post_extract_proj.weight"], weights["post_extract_proj.bias"]
    settings = {**MODEL, "conv_feature_layers": "[(16,10,5)] + [(16,3,2)] * 2"}
    assert same(load_fairseq(save(tmp_path / "a.pt", weights, settings)).model, model) == 0


def test_batch_norm_before_the_positions(tmp_path):
    model = reference(conv_pos_batch_norm=True)
    model.encoder.pos_conv_embed.batch_norm.running_mean.fill_(0.3)
    weights = {}
    for name, value in fairseq_names(model).items():
        name = name.replace("encoder.pos_conv.0.", "encoder.pos_conv.1.")
        weights[name.replace("encoder.pos_conv_embed.batch_norm.", "encoder.pos_conv.0.")] = value
    path = save(tmp_path / "a.pt", weights, {**MODEL, "conv_pos_batch_norm": True})
    assert same(load_fairseq(path).model, model) == 0


def test_half_precision_weights_become_float32(tmp_path):
    weights = {name: value.half() for name, value in fairseq_names(reference()).items()}
    loaded = load_fairseq(save(tmp_path / "a.pt", weights))
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}


def test_missing_unexpected_and_misshapen_weights_are_errors(tmp_path):
    weights = fairseq_names(reference())
    extra = {**weights, "encoder.layers.0.adapter.weight": torch.zeros(2)}
    with pytest.raises(CheckpointError, match=r"unexpected encoder.layers.0.adapter.weight"):
        load_fairseq(save(tmp_path / "a.pt", extra))
    fewer = {name: value for name, value in weights.items() if ".fc1." not in name}
    with pytest.raises(CheckpointError, match=r"missing encoder.layers.0.*and 1 more"):
        load_fairseq(save(tmp_path / "b.pt", fewer))
    with pytest.raises(CheckpointError, match=r"has shape \(24, 16\), but its settings ask for"):
        load_fairseq(save(tmp_path / "c.pt", weights, {**MODEL, "encoder_ffn_embed_dim": 32}))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"_name": "wav2vec"}, "only hubert, wav2vec2, wavlm and data2vec_audio are read here"),
        ({"layer_type": "conformer"}, "layer_type must be transformer"),
        ({"pos_conv_depth": 5}, "pos_conv_depth 5 is read only with extractor_mode layer_norm"),
        ({"encoder_layers": 10**9}, "ask for 1000000000 layers, but its weights are those of 2"),
        ({"sample_rate": 8000}, "sample_rate must be 16000"),
        ({"activation_fn": "x"}, "activation_fn must be one of gelu"),
        ({"encoder_layers": "${a}"}, "encoder_layers must be a whole number"),
        ({"conv_feature_layers": "__import__('os')"}, "conv_feature_layers must read like"),
        ({"conv_feature_layers": "[(512,10,5)] * 1000000000"}, "conv_feature_layers must read"),
    ],
)
def test_settings_that_cannot_be_used_are_named(tmp_path, change, sentence):
    path = save(tmp_path / "a.pt", fairseq_names(reference()), {**MODEL, **change})
    with pytest.raises(CheckpointError, match=re.escape(sentence)) as error:
        load_fairseq(path)
    assert str(path) in str(error.value)


def test_convolutions_are_read_as_syntax():
    text = "[(512,10,5)] + [(512,3,2)] * 4 + 2 * [(512,2,2)]"
    assert conv_layers(text) == [(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512, 2, 2)] * 2
    for bad in ("[(1,2)]", "[]", "open('x')", "[(1,2,3)] - [(1,2,3)]", "(" * 500, None):
        with pytest.raises(CheckpointError, match="must read like"):
            conv_layers(bad)


def test_convert_writes_a_folder_that_transformers_loads(tmp_path):
    from transformers import AutoFeatureExtractor, HubertModel

    model = reference(large=True)
    settings = {**MODEL, "extractor_mode": "layer_norm", "layer_norm_first": True}
    path = save(tmp_path / "a.pt", fairseq_names(model, True), settings, {"normalize": True})
    folder = convert(path, tmp_path / "deep" / "out")
    again = HubertModel.from_pretrained(folder).eval()
    assert same(again, model) == 0
    assert AutoFeatureExtractor.from_pretrained(folder).do_normalize is True
    assert any(file.suffix == ".safetensors" for file in folder.iterdir())
    assert [item.name for item in folder.parent.iterdir()] == ["out"]
    with pytest.raises(CheckpointError, match="exists already"):
        convert(path, folder)
