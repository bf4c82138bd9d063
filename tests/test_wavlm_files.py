"""WavLM's own checkpoint files: the numbers of Microsoft's code and of transformers."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from drawn_checkpoints import draw, reference, sound
from fairseq_files import conv_name
from tiny_speech import encoder, speech, tiny

from models.encoders import PruningConfig, SpeechConfig, build_speech_encoder
from models.encoders.fairseq import convert, load_checkpoint
from models.encoders.unpickle import CheckpointError

LAYERS = {"layers": [0, 1, 2, 3], "combine": "views", "pooling": "frames"}
NAMES = [  # transformers' -> Microsoft's; the rest is called alike
    (r"^feature_projection\.layer_norm\.", "layer_norm."),
    (r"^feature_projection\.projection\.", "post_extract_proj."),
    (r"^masked_spec_embed$", "mask_emb"),
    (r"^encoder\.pos_conv_embed\.conv\.param.*original0$", "encoder.pos_conv.0.weight_g"),
    (r"^encoder\.pos_conv_embed\.conv\.param.*original1$", "encoder.pos_conv.0.weight_v"),
    (r"^encoder\.pos_conv_embed\.conv\.bias$", "encoder.pos_conv.0.bias"),
    (r"^(encoder\.layers\.\d+\.)layer_norm\.", r"\1self_attn_layer_norm."),
    (r"\.attention\.gru_rel_pos_linear\.", ".self_attn.grep_linear."),
    (r"\.attention\.gru_rel_pos_const$", ".self_attn.grep_a"),
    (r"\.attention\.rel_attn_embed\.", ".self_attn.relative_attention_bias."),
    (r"\.attention\.", ".self_attn."),
    (r"\.feed_forward\.intermediate_dense\.", ".fc1."),
    (r"\.feed_forward\.output_dense\.", ".fc2."),
]  # fmt: skip
SETTINGS = {
    "encoder_layers": 3, "encoder_embed_dim": 24, "encoder_ffn_embed_dim": 32,
    "encoder_attention_heads": 2,
    "conv_feature_layers": "[(16,10,5)] + [(16,3,2)] * 4 + [(16,2,2)] * 2",
    "conv_pos": 16, "conv_pos_groups": 4, "relative_position_embedding": True,
    "gru_rel_pos": True, "num_buckets": 320, "max_distance": 800,
}  # fmt: skip
LARGE = {
    "extractor_mode": "layer_norm", "layer_norm_first": True, "conv_bias": True, "normalize": True
}  # fmt: skip


def microsofts(model: torch.nn.Module, large: bool) -> dict[str, torch.Tensor]:
    weights = {}
    for name, value in model.state_dict().items():
        name = conv_name(name, large)
        for pattern, theirs in NAMES:
            name, found = re.subn(pattern, theirs, name)
            if found:
                break
        weights[name] = value.clone()
    return weights


def save(path, weights, **changes):
    torch.save({"cfg": {**SETTINGS, **changes}, "model": weights}, path)
    return path


@pytest.mark.parametrize("size", ["base", "large"])
def test_every_layer_is_that_of_microsofts_own_code(size, tmp_path):
    known = reference(f"wavlm_{size}")
    path = tmp_path / "WavLM.pt"
    torch.save({"cfg": known["cfg"], "model": draw(known["shapes"])}, path)
    loaded = build_speech_encoder(SpeechConfig(model=str(path), **LAYERS))
    assert loaded.model.model_type == "wavlm" and loaded.model.normalize is (size == "large")
    (frames,) = loaded.encode_frames([sound()])
    assert len(frames) == known["frames"]
    torch.testing.assert_close(frames.mean(0), torch.tensor(known["layers"]), atol=2e-5, rtol=1e-5)
    spread = frames.std(0, correction=0)
    torch.testing.assert_close(spread, torch.tensor(known["deviations"]), atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("size", ["base", "large"])
def test_every_layer_is_that_of_transformers_on_real_speech(size, tmp_path):
    model = tiny(f"wavlm-{size}")
    changes = LARGE if size == "large" else {}
    path = save(tmp_path / "w.pt", microsofts(model, bool(changes)), **changes)
    loaded = build_speech_encoder(SpeechConfig(model=str(path), **LAYERS))
    (wave,) = speech(1)
    (ours,) = loaded.encode_frames([0.01 * wave])
    heard = torch.from_numpy(0.01 * wave)[None]
    if changes:
        heard = torch.nn.functional.layer_norm(heard, heard.shape)
    with torch.no_grad():
        theirs = model(heard, output_hidden_states=True)
    states = [*theirs.hidden_states[:3], theirs.last_hidden_state]
    torch.testing.assert_close(ours, torch.stack(states, 2)[0], atol=1e-4, rtol=1e-4)


def test_a_converted_folder_gives_the_files_numbers(tmp_path):
    path = save(tmp_path / "w.pt", microsofts(tiny("wavlm-large"), True), **LARGE)
    convert(path, tmp_path / "out")
    one, other = (
        build_speech_encoder(SpeechConfig(model=str(m), **LAYERS)) for m in (path, tmp_path / "out")
    )
    (a,), (b,) = one.encode_frames([sound()]), other.encode_frames([sound()])
    torch.testing.assert_close(a, b, atol=1e-6, rtol=0)


def test_what_convert_says_can_be_pasted_and_nothing_else_is_printed(tmp_path, capsys):
    import shlex

    from semi.cli import main

    path = save(tmp_path / "w.pt", microsofts(tiny("wavlm-base"), False))
    target = tmp_path / "a folder"
    assert main(["convert", str(path), str(target)]) == 0
    out, err = capsys.readouterr()
    told = shlex.split(out.rpartition("use it with ")[2])
    assert told == [f"encoders.speech.model={target}"] and err == ""


def test_a_bare_table_under_transformers_names_tells_its_architecture_itself(tmp_path):
    model = tiny("wavlm-base")
    torch.save(model.state_dict(), tmp_path / "wavlm.bin")
    loaded = load_checkpoint(tmp_path / "wavlm.bin")
    assert loaded.kind == "wavlm" and loaded.config["encoder_attention_heads"] == 2
    batch = [sound(), sound()[:7_000]]
    ours = build_speech_encoder(SpeechConfig(model=str(tmp_path / "wavlm.bin"))).encode(batch)
    torch.testing.assert_close(ours, encoder(model).encode(batch), atol=1e-5, rtol=0)


def test_what_does_not_fit_is_told(tmp_path):
    weights = microsofts(tiny("wavlm-base"), False)
    with pytest.raises(CheckpointError, match="gru_rel_pos is False in its settings"):
        load_checkpoint(save(tmp_path / "a.pt", weights, gru_rel_pos=False))
    table = "encoder.layers.0.self_attn.relative_attention_bias.weight"
    bare = {n: v for n, v in weights.items() if n != table}
    with pytest.raises(CheckpointError, match="relative_position_embedding is True in its setti"):
        load_checkpoint(save(tmp_path / "b.pt", bare))
    gate = "encoder.layers.1.self_attn.grep_linear.weight"
    bare = {n: v for n, v in weights.items() if n != gate}
    with pytest.raises(CheckpointError, match=r"missing encoder\.layers\.1\.attention\.gru_rel"):
        load_checkpoint(save(tmp_path / "c.pt", bare))
    with pytest.raises(CheckpointError, match=r"rel_attn_embed.* has shape"):
        load_checkpoint(save(tmp_path / "d.pt", weights, num_buckets=64))
    with pytest.raises(CheckpointError, match="activation_fn must be one of"):
        load_checkpoint(save(tmp_path / "e.pt", weights, activation_fn="glu"))
    path = save(tmp_path / "f.pt", weights)
    with pytest.raises(ValueError, match="adds a bias by relative position"):
        pruning = PruningConfig(method="topk", keep_rate=0.5)
        build_speech_encoder(SpeechConfig(model=str(path), pruning=pruning))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(value, tmp_path):
    weights = microsofts(tiny("wavlm-base"), False)
    weights["encoder.layers.1.fc1.weight"][0, 0] = value
    with pytest.raises(CheckpointError, match=r"1 of its \d+ weights hold NaN or infinity"):
        load_checkpoint(save(tmp_path / "a.pt", weights))
