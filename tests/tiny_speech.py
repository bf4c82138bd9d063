"""Tiny random speech models of every architecture, and noise to feed them."""

from __future__ import annotations

import numpy as np
import torch

from models.encoders import SpeechConfig
from models.encoders.speech import SpeechEncoder
from models.encoders.speech_models import describe

SMALL = {
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embedding_groups": 4,
}
STABLE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
NAMES = [
    "hubert-base",
    "hubert-large",
    "hubert-batch-norm",
    "wav2vec2-base",
    "wav2vec2-large",
    "wavlm-base",
    "wavlm-large",
    "data2vec-audio",
    "unispeech",
    "unispeech-sat",
    "mms-adapter",
    "w2v-bert",
    "w2v-bert-relative",
    "w2v-bert-rotary",
    "whisper",
]


def tiny(name: str) -> torch.nn.Module:
    """A random transformers model of the named architecture."""
    import transformers as t

    torch.manual_seed(0)
    positions = {"num_conv_pos_embeddings": 16}
    if name == "whisper":
        config = t.WhisperConfig(
            d_model=24, encoder_layers=3, encoder_attention_heads=2, encoder_ffn_dim=32
        )
        from transformers.models.whisper.modeling_whisper import WhisperEncoder

        model = WhisperEncoder(config)
    elif name.startswith("w2v-bert"):
        config = t.Wav2Vec2BertConfig(
            hidden_size=24,
            num_hidden_layers=3,
            num_attention_heads=2,
            intermediate_size=32,
            feature_projection_input_dim=32,
            conv_depthwise_kernel_size=5,
            left_max_position_embeddings=6,
            right_max_position_embeddings=3,
            position_embeddings_type=name[9:] or "relative_key",
        )
        model = t.Wav2Vec2BertModel(config)
    elif name == "data2vec-audio":
        config = t.Data2VecAudioConfig(**SMALL, num_conv_pos_embeddings=3, conv_pos_kernel_size=7)
        model = t.Data2VecAudioModel(config)
    elif name == "mms-adapter":
        model = t.Wav2Vec2Model(
            t.Wav2Vec2Config(**SMALL, **positions, **STABLE, adapter_attn_dim=8)
        )
    elif name == "hubert-batch-norm":
        model = t.HubertModel(t.HubertConfig(**SMALL, **positions, conv_pos_batch_norm=True))
    else:
        kind, _, size = name.partition("-") if name != "unispeech-sat" else (name, "", "")
        config, model = {
            "hubert": (t.HubertConfig, t.HubertModel),
            "wav2vec2": (t.Wav2Vec2Config, t.Wav2Vec2Model),
            "wavlm": (t.WavLMConfig, t.WavLMModel),
            "unispeech": (t.UniSpeechConfig, t.UniSpeechModel),
            "unispeech-sat": (t.UniSpeechSatConfig, t.UniSpeechSatModel),
        }[kind]
        model = model(config(**SMALL, **positions, **(STABLE if size == "large" else {})))
    with torch.no_grad():  # make every part count: norms and biases start as identities
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
        for buffer_name, buffer in model.named_buffers():
            if buffer_name.endswith("running_mean"):
                buffer.normal_()
    return model.eval()


def encoder(model: torch.nn.Module, precision: str = "fp32", **settings) -> SpeechEncoder:
    """A SpeechEncoder round a transformers model that is in memory already."""
    about = describe(model.config, load=lambda: model, identity={"test": True})
    return SpeechEncoder(about, SpeechConfig(model="test", **settings), precision=precision)


def waves(*lengths: int, seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.normal(0, 0.1, n).astype(np.float32) for n in lengths]


def speech(count: int) -> list[np.ndarray]:
    """The first recordings of the bundled corpus, real speech at 16 kHz."""
    import pandas as pd

    from semi.data.audio import load_audio
    from semi.data.corpora import bundled_emodb

    files = pd.read_csv(bundled_emodb(), dtype=str)["audio"][:count]
    return [load_audio(str(bundled_emodb().parent / file)) for file in files]
