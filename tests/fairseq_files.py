"""Checkpoints as fairseq writes them, made of drawn weights, for the tests of their readers."""

import re
from pathlib import Path

import torch

SHARED = Path(__file__).resolve().parents[2] / "shared" / "fixtures"
CONV = "[(8,10,5)] + [(8,3,2)] * 2"
MODEL = {
    "_name": "hubert",
    "extractor_mode": "default",
    "encoder_layers": 2,
    "encoder_embed_dim": 16,
    "encoder_ffn_embed_dim": 24,
    "encoder_attention_heads": 4,
    "conv_feature_layers": CONV,
    "conv_pos": 6,
    "conv_pos_groups": 2,
    "layer_norm_first": False,
    "conv_bias": False,
}
INVERSE = [
    ("feature_projection.layer_norm.", "layer_norm."),
    ("feature_projection.projection.", "post_extract_proj."),
    ("masked_spec_embed", "mask_emb"),
    (
        "encoder.pos_conv_embed.conv.parametrizations.weight.original0",
        "encoder.pos_conv.0.weight_g",
    ),
    (
        "encoder.pos_conv_embed.conv.parametrizations.weight.original1",
        "encoder.pos_conv.0.weight_v",
    ),
    ("encoder.pos_conv_embed.conv.", "encoder.pos_conv.0."),
    (".attention.", ".self_attn."),
    (".feed_forward.intermediate_dense.", ".fc1."),
    (".feed_forward.output_dense.", ".fc2."),
]


def reference(kind="hubert", large=False, **changes):
    """Returns a random transformers model of the tiny architecture, the source of all weights."""
    from transformers import HubertConfig, HubertModel, Wav2Vec2Config, Wav2Vec2Model

    torch.manual_seed(0)
    settings = {
        "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 24, "conv_dim": (8, 8, 8), "conv_kernel": (10, 3, 3),
        "conv_stride": (5, 2, 2), "num_conv_pos_embeddings": 6,
        "num_conv_pos_embedding_groups": 2, "do_stable_layer_norm": large,
        "feat_extract_norm": "layer" if large else "group", **changes,
    }  # fmt: skip
    if kind == "hubert":
        return HubertModel(HubertConfig(**settings)).eval()
    return Wav2Vec2Model(Wav2Vec2Config(**settings)).eval()


def conv_name(name, large):
    """Returns fairseq's name of a weight of the convolutions; others as they are."""
    layer = re.match(r"feature_extractor\.conv_layers\.(\d+)\.(conv|layer_norm)\.(.*)", name)
    if layer is None:
        return name
    number, part, rest = layer.groups()
    part = "0" if part == "conv" else "2.1" if large else "2"
    return f"feature_extractor.conv_layers.{number}.{part}.{rest}"


def fairseq_names(model, large=False):
    """Returns the model's weights under fairseq's names, with a pre-training head."""
    weights = {}
    for name, value in model.state_dict().items():
        if (theirs := conv_name(name, large)) != name:
            name = theirs
        elif re.match(r"encoder\.layers\.\d+\.layer_norm\.", name):
            name = name.replace(".layer_norm.", ".self_attn_layer_norm.")
        else:
            for ours, theirs in INVERSE:
                if ours in name:
                    name = name.replace(ours, theirs)
                    break
        weights[name] = value.clone()
    weights["final_proj.weight"] = torch.zeros(3, 16)
    weights["label_embs_concat"] = torch.zeros(5, 3)
    return weights


def save(path, weights, model=MODEL, task=None, **options):
    cfg = {"model": model, "task": {"_name": "hubert_pretraining", **(task or {})}}
    torch.save({"args": None, "cfg": cfg, "model": weights}, path, **options)
    return path


def same(model, expected, samples=2000):
    """Returns the largest difference over all layers on one waveform."""
    wave = torch.randn(1, samples, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        a = model(wave, output_hidden_states=True)
        b = expected(wave, output_hidden_states=True)
    both = zip(a.hidden_states, b.hidden_states, strict=True)
    return max((x - y).abs().max().item() for x, y in both)
