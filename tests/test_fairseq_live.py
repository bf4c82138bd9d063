"""Against fairseq itself, where the extra `fairseq` is installed: every layer's numbers."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from models.encoders import EncoderUnavailable
from models.encoders.fairseq import load_checkpoint

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("fairseq") is None,
        reason="no fairseq here: pip install --no-build-isolation 'semi-emotion[fairseq]'",
    ),
    pytest.mark.filterwarnings("ignore"),  # fairseq's own
]
SHARED = Path(__file__).resolve().parents[2] / "shared" / "fixtures"
SMALL = {
    "encoder_layers": 3,
    "encoder_embed_dim": 32,
    "encoder_ffn_embed_dim": 48,
    "encoder_attention_heads": 4,
    "conv_pos": 16,
    "conv_pos_groups": 4,
    "final_dim": 8,
    "conv_feature_layers": "[(24,10,5)] + [(24,3,2)] * 4 + [(24,2,2)] * 2",
}
LARGE = {"extractor_mode": "layer_norm", "layer_norm_first": True, "conv_bias": True}


class Fairseq(NamedTuple):
    """What is needed of fairseq."""

    Dictionary: Any
    OmegaConf: Any
    HubertConfig: Any
    HubertModel: Any
    Wav2Vec2Config: Any
    Wav2Vec2Model: Any


@pytest.fixture(scope="module")
def fairseq():
    """The library; its import says much and warns of much."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from fairseq.data.dictionary import Dictionary
            from fairseq.models.hubert.hubert import HubertConfig, HubertModel
            from fairseq.models.wav2vec.wav2vec2 import Wav2Vec2Config, Wav2Vec2Model
            from omegaconf import OmegaConf
        except Exception as error:
            pytest.skip(f"fairseq is installed but cannot be imported: {error}")
        finally:
            logging.disable(level)
    return Fairseq(
        Dictionary=Dictionary, OmegaConf=OmegaConf, HubertConfig=HubertConfig,
        HubertModel=HubertModel, Wav2Vec2Config=Wav2Vec2Config, Wav2Vec2Model=Wav2Vec2Model,
    )  # fmt: skip


def loaded(path):
    try:
        return load_checkpoint(path)
    except EncoderUnavailable as error:  # torchaudio, which fairseq brings, can break transformers
        pytest.skip(str(error))


def shaken(model):
    """Returns the model with every weight off its starting value, so that each one counts."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
        for name, buffer in model.named_buffers():
            if "running_mean" in name:
                buffer.normal_()
    return model.eval()


@torch.no_grad()
def apart(ours, theirs, wave, hubert=True):
    """Returns the largest difference over every layer and the final states."""
    output = ours.model(wave, output_hidden_states=True)
    last = 0.0
    for layer in range(1, len(output.hidden_states)):
        final = layer == len(output.hidden_states) - 1
        if hubert:
            number = None if final else layer  # large: only without it comes the last LayerNorm
            want = theirs.extract_features(wave, None, mask=False, output_layer=number)[0]
        else:
            number = None if final else layer - 1
            want = theirs.extract_features(wave, None, mask=False, layer=number)["x"]
        got = output.last_hidden_state if final else output.hidden_states[layer]
        last = max(last, (got - want).abs().max().nan_to_num(9.0).item())
    return last


@pytest.mark.parametrize("folder", ["fairseq_tiny_hubert", "fairseq_tiny_hubert_large"])
def test_genuine_checkpoints(fairseq, folder):
    path = SHARED / folder / "ckpt.pt"
    if not path.is_file():
        pytest.skip("genuine fairseq checkpoints are not at hand")
    content = torch.load(path, map_location="cpu", weights_only=False)  # our own file
    settings = content["cfg"]
    model, task = (fairseq.OmegaConf.create(settings[k]) for k in ("model", "task"))
    state = content["model"]
    names = fairseq.Dictionary()
    for number in range(len(state["label_embs_concat"]) - len(names)):
        names.add_symbol(str(number))
    theirs = fairseq.HubertModel(model, task, [names])
    theirs.load_state_dict(state)
    wave = torch.from_numpy(np.load(path.parent / "wave.npy"))[None]
    ours = loaded(path)
    if ours.normalize:
        wave = torch.nn.functional.layer_norm(wave, wave.shape[1:])
    for samples in (1_600, 16_000, 24_000):
        assert apart(ours, theirs.eval(), wave[:, :samples]) < 1e-5


VARIANTS = {
    "base": {},
    "large": LARGE,
    "bias": {"conv_bias": True},
    "layer norm after": {"extractor_mode": "layer_norm"},
    "group norm before": {"layer_norm_first": True},
    "relu": {"activation_fn": "relu"},
    "gelu_accurate": {"activation_fn": "gelu_accurate"},
    "odd positions": {"conv_pos": 15, "conv_pos_groups": 1},
    "other convolutions": {"conv_feature_layers": "[(16,10,5)] + [(20,8,4)] + [(24,4,2)] * 2"},
    "equal widths": {"conv_feature_layers": "[(32,10,5)] + [(32,3,2)] * 4"},
    "batch norm": {"conv_pos_batch_norm": True},
    "lengths of four": {"required_seq_len_multiple": 4},
    "heads": {"untie_final_proj": True, "target_glu": True},
}


@pytest.mark.parametrize(
    ("name", "style"), [*((name, "settings") for name in VARIANTS), ("base", "omegaconf")]
)
def test_every_architecture_of_hubert(fairseq, tmp_path, name, style):
    omega = fairseq.OmegaConf
    if any(not hasattr(fairseq.HubertConfig, key) for key in VARIANTS[name]):
        pytest.skip("this fairseq does not know the setting")
    settings = omega.merge(omega.structured(fairseq.HubertConfig), {**SMALL, **VARIANTS[name]})
    omega.set_struct(settings, False)
    settings.label_rate = 50.0
    words = fairseq.Dictionary()
    for number in range(9):
        words.add_symbol(str(number))
    task = omega.create({"_name": "hubert_pretraining", "sample_rate": 16_000, "normalize": False})
    theirs = shaken(fairseq.HubertModel(settings, task, [words]))
    plain = {**omega.to_container(settings, enum_to_str=True), "_name": "hubert"}
    cfg = {"model": plain, "task": omega.to_container(task)}
    torch.save(
        {
            "args": None,
            "cfg": omega.create(cfg) if style == "omegaconf" else cfg,
            "model": theirs.state_dict(),
            "task_state": {"dictionaries": [words]},
        },
        tmp_path / "a.pt",
    )
    ours = loaded(tmp_path / "a.pt")
    for samples in (1_600, 8_123, 24_000):
        wave = torch.randn(1, samples, generator=torch.Generator().manual_seed(samples))
        assert apart(ours, theirs, wave) < 1e-5


@pytest.mark.parametrize(
    "change", [{}, LARGE, {"pos_conv_depth": 3, "extractor_mode": "layer_norm"}], ids=str
)
def test_wav2vec2(fairseq, tmp_path, change):
    omega = fairseq.OmegaConf
    settings = omega.merge(omega.structured(fairseq.Wav2Vec2Config), {**SMALL, **change})
    theirs = shaken(fairseq.Wav2Vec2Model(settings))
    cfg = {**omega.to_container(settings, enum_to_str=True), "_name": "wav2vec2"}
    content = {"cfg": {"model": cfg, "task": {"normalize": True}}, "model": theirs.state_dict()}
    torch.save(content, tmp_path / "a.pt")
    wave = torch.randn(1, 8_123, generator=torch.Generator().manual_seed(0))
    assert apart(loaded(tmp_path / "a.pt"), theirs, wave, hubert=False) < 1e-5
