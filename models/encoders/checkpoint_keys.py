"""The names that fairseq, unilm (WavLM) and torchaudio give to weights, as transformers' own."""

from __future__ import annotations

import re
from typing import Any

import torch

from .unpickle import CheckpointError

FIRST = "feature_extractor.conv_layers.0."
POSITIONS = "encoder.layers.0.attention.rel_attn_embed.weight"  # WavLM's, by distance and head
LAYER = r"^encoder\.layers\.(\d+)\."
AUDIO = "modality_encoders.AUDIO."  # emotion2vec's
MARK = AUDIO + "local_encoder.conv_layers.0.0.weight"
# Pre-training heads, teachers and quantisers: no part of the encoder.
HEADS = re.compile(
    r"^(final_proj|label_embs_concat|quantizer|project_q|target_glu|aux|mask_generator|logit_generator|decoder|proj|ctc_proj)\b"
)

FAIRSEQ = [
    (r"^(feature_extractor\.conv_layers\.\d+)\.0\.", r"\1.conv."),
    (r"^(feature_extractor\.conv_layers\.\d+)\.2\.(?:1\.)?(weight|bias)$", r"\1.layer_norm.\2"),
    (r"^layer_norm\.", "feature_projection.layer_norm."),
    (r"^post_extract_proj\.", "feature_projection.projection."),
    (r"^mask_emb$", "masked_spec_embed"),
    (r"^encoder\.pos_conv\.0\.", "encoder.pos_conv_embed.conv."),
    (LAYER + r"self_attn\.grep_linear\.", r"encoder.layers.\1.attention.gru_rel_pos_linear."),
    (LAYER + r"self_attn\.grep_a$", r"encoder.layers.\1.attention.gru_rel_pos_const"),
    (
        LAYER + r"self_attn\.relative_attention_bias\.",
        r"encoder.layers.\1.attention.rel_attn_embed.",
    ),
    (LAYER + r"self_attn\.", r"encoder.layers.\1.attention."),
    (LAYER + r"self_attn_layer_norm\.", r"encoder.layers.\1.layer_norm."),
    (LAYER + r"fc1\.", r"encoder.layers.\1.feed_forward.intermediate_dense."),
    (LAYER + r"fc2\.", r"encoder.layers.\1.feed_forward.output_dense."),
]
# HuBERT of fairseq's later years can normalise before its positional convolution.
BATCH_NORM = [
    (r"^encoder\.pos_conv\.0\.", "encoder.pos_conv_embed.batch_norm."),
    (r"^encoder\.pos_conv\.1\.", "encoder.pos_conv_embed.conv."),
]
# data2vec-audio has several positional convolutions; their norms have no weights.
DEEP = [(r"^encoder\.pos_conv\.(\d+)\.0\.", r"encoder.pos_conv_embed.layers.\1.conv.")]
TORCHAUDIO = [
    (r"^encoder\.feature_projection\.", "feature_projection."),
    (r"^encoder\.transformer\.", "encoder."),
]


def is_emotion2vec(content: Any) -> bool:
    """Returns whether what a checkpoint file holds is an emotion2vec."""
    weights = content.get("model", content) if isinstance(content, dict) else None
    return isinstance(weights, dict) and any(str(name).endswith(MARK) for name in weights)


def split_prefix(weights: dict[str, torch.Tensor]) -> tuple[str, str]:
    """Returns the style of the names, fairseq or torchaudio, and what stands before each.

    A model fine-tuned with CTC carries its encoder as `w2v_encoder.w2v_model.` or `w2v_model.`,
    torchaudio's pre-training model as `wav2vec2.`.
    """
    for style, end in (("fairseq", FIRST + "0.weight"), ("torchaudio", FIRST + "conv.weight")):
        prefixes = sorted((k[: -len(end)] for k in weights if k.endswith(end)), key=len)
        if prefixes:
            return style, prefixes[0]
    raise CheckpointError(
        f"it holds no speech encoder: no weight is called {FIRST}0.weight (fairseq) or "
        f"{FIRST}conv.weight (torchaudio)"
    )


def rename(
    weights: dict[str, torch.Tensor], style: str, prefix: str
) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Returns the encoder's weights under transformers' names, and the names left out as heads."""
    rules = list(FAIRSEQ if style == "fairseq" else TORCHAUDIO)
    if prefix + "encoder.pos_conv.0.running_mean" in weights:
        rules = BATCH_NORM + rules
    if prefix + "encoder.pos_conv.0.0.weight" in weights:
        rules = DEEP + rules
    renamed, heads = {}, []
    for name, value in weights.items():
        inner = name[len(prefix) :]
        if not name.startswith(prefix) or HEADS.match(inner):
            heads.append(name)
            continue
        for pattern, replacement in rules:
            inner, count = re.subn(pattern, replacement, inner)
            if count:
                break
        renamed[inner] = value
    return renamed, heads


def fit_positions(weights: dict[str, torch.Tensor], expected: set[str]) -> dict[str, torch.Tensor]:
    """Returns the weights with the positional convolution's weight norm as the model keeps it.

    It has three spellings: weight_g and weight_v, the parametrization of torch 2 (original0 and
    original1), and the product alone where the norm was removed for inference.
    """
    conv = "encoder.pos_conv_embed.conv."
    forms = [
        (conv + "weight_g", conv + "weight_v"),
        (conv + "parametrizations.weight.original0", conv + "parametrizations.weight.original1"),
    ]
    wanted = next((form for form in forms if form[0] in expected), None)
    if wanted is None:
        return weights
    weights = dict(weights)
    for form in forms:
        if form[0] in weights and form[1] in weights:
            weights[wanted[0]], weights[wanted[1]] = weights.pop(form[0]), weights.pop(form[1])
            return weights
    if conv + "weight" in weights:
        product = weights.pop(conv + "weight").float()
        weights[wanted[0]] = product.norm(dim=(0, 1), keepdim=True)  # the norm of each tap
        weights[wanted[1]] = product
    return weights
