"""What a speech checkpoint says about its architecture, in fairseq's words."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Any

import torch

from .checkpoint_keys import FIRST, POSITIONS
from .unpickle import CheckpointError, plain

# fairseq's own defaults, for what older checkpoints do not say.
DEFAULTS: dict[str, Any] = {
    "extractor_mode": "default",
    "encoder_layers": 12,
    "encoder_embed_dim": 768,
    "encoder_ffn_embed_dim": 3072,
    "encoder_attention_heads": 12,
    "activation_fn": "gelu",
    "conv_feature_layers": "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] + [(512,2,2)]",
    "conv_bias": False,
    "layer_norm_first": False,
    "conv_pos": 128,
    "conv_pos_groups": 16,
    "dropout": 0.1,
    "attention_dropout": 0.1,
    "activation_dropout": 0.0,
    "dropout_input": 0.0,
    "encoder_layerdrop": 0.0,
    "layer_type": "transformer",
    "pos_conv_depth": 1,
    "pos_enc_type": "abs",
    "conv_pos_batch_norm": False,
    "sample_rate": 16000,
    # WavLM's, in Microsoft's words.
    "relative_position_embedding": False,
    "gru_rel_pos": False,
    "num_buckets": 320,
    "max_distance": 800,  # of every published WavLM; they all say so
}
# Published widths and their heads, for files without settings (torchaudio's).
ATTENTION_HEADS = {768: 12, 1024: 16, 1280: 16}
STRIDES = {10: 5, 3: 2, 2: 2}


@dataclass
class CheckpointSource:
    """What a checkpoint file holds, sorted."""

    weights: dict[str, torch.Tensor]
    stated: dict[str, Any]  # the encoder's own settings; empty in a file without
    kind: str  # hubert | wav2vec2 | wavlm | data2vec-audio
    normalize: bool | None  # None: the file does not say


def read_source(content: Any) -> CheckpointSource:
    """Returns the weights and settings of a checkpoint of fairseq, s3prl or torchaudio."""
    if not isinstance(content, dict):
        raise CheckpointError(f"it holds a {type(content).__name__}, not a checkpoint")
    if "model_weight" in content:  # s3prl
        weights = content["model_weight"]
        settings = {
            "model": plain(content.get("model_cfg")),
            "task": plain(content.get("task_cfg")),
        }
    else:
        weights = content.get("model", content.get("state_dict", content))
        settings = plain(content.get("cfg")) or plain(content.get("args")) or {}
    if not isinstance(weights, dict):
        raise CheckpointError("its model is not a table of weights")
    model, task = _sections(settings)
    inner_model, inner_task = {}, {}
    if isinstance(model.get("w2v_args"), dict):  # the encoder inside a model fine-tuned with CTC
        inner_model, inner_task = _sections(model["w2v_args"])
    encoder = inner_model or model
    # A section says something of the encoder only if it names one of these.
    telling = ("encoder_layers", "encoder_embed_dim", "conv_feature_layers")
    stated = {k: v for k, v in encoder.items() if v is not None}
    stated = stated if any(key in stated for key in telling) else {}
    tasks = [task, model, inner_task, inner_model]
    for part in tasks:
        stated.setdefault("sample_rate", part.get("sample_rate") or DEFAULTS["sample_rate"])
    flags = [part["normalize"] for part in tasks if isinstance(part.get("normalize"), bool)]
    return CheckpointSource(
        weights={k: v for k, v in weights.items() if isinstance(v, torch.Tensor)},
        stated=stated if len(stated) > 1 else {},
        kind=_kind([encoder, model]),
        normalize=flags[0] if flags else None,
    )


def _sections(settings: Any) -> tuple[dict, dict]:
    """Returns the model's and the task's settings; argparse's older files keep both in one."""
    if not isinstance(settings, dict):
        return {}, {}
    model, task = settings.get("model"), settings.get("task")
    if isinstance(model, dict):
        return model, task if isinstance(task, dict) else {}
    return settings, settings


def _kind(parts: list[dict]) -> str:
    """Returns hubert, wav2vec2, wavlm or data2vec-audio, by the first section that names one."""
    names = [part.get("_name") or part.get("arch") for part in parts]
    for name in names:
        if not isinstance(name, str):
            continue
        if name.startswith("hubert"):
            return "hubert"
        if name.startswith(("wav2vec2", "wav2vec_ctc", "wav2vec_seq2seq")):
            return "wav2vec2"
        if name.startswith("data2vec_audio"):
            return "data2vec-audio"
        if name.startswith("wavlm"):
            return "wavlm"
        raise CheckpointError(
            f"its model is called '{name}', and only hubert, wav2vec2, wavlm and data2vec_audio "
            "are read here; use the model's Hugging Face folder instead"
        )
    return "hubert"  # without settings: the two encoders are the same network


def from_shapes(weights: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Returns the architecture of a file without settings, where its shapes tell it."""
    convolutions = []
    while (name := f"feature_extractor.conv_layers.{len(convolutions)}.conv.weight") in weights:
        channels, _, kernel = weights[name].shape
        if kernel not in STRIDES:
            raise CheckpointError(
                f"it has no settings and a convolution of width {kernel}, whose stride is unknown"
            )
        convolutions.append((channels, kernel, STRIDES[kernel]))
    width = weights["feature_projection.projection.weight"].shape[0]
    table = weights.get(POSITIONS)  # WavLM's: how many distances, for how many heads
    if table is None and width not in ATTENTION_HEADS:
        known = ", ".join(str(w) for w in ATTENTION_HEADS)
        raise CheckpointError(
            f"it has no settings and a width of {width}, so its number of attention heads is "
            f"unknown; without settings only the published widths {known} are read"
        )
    positions = "encoder.pos_conv_embed.conv."
    taps = next(weights[n] for n in weights if n.startswith(positions) and weights[n].dim() == 3)
    wide = [w for n, w in weights.items() if n.startswith(positions) and w.dim() == 3]
    grouped = max(wide, key=torch.Tensor.numel)
    layered = "feature_extractor.conv_layers.1.layer_norm.weight" in weights
    layers = {name.split(".")[2] for name in weights if name.startswith("encoder.layers.")}
    return {
        "extractor_mode": "layer_norm" if layered else "default",
        "layer_norm_first": layered,
        "encoder_layers": len(layers),
        "encoder_embed_dim": width,
        "encoder_ffn_embed_dim": weights[
            "encoder.layers.0.feed_forward.intermediate_dense.weight"
        ].shape[0],
        "encoder_attention_heads": ATTENTION_HEADS[width] if table is None else table.shape[1],
        "conv_feature_layers": str(convolutions),
        "conv_bias": FIRST + "conv.bias" in weights,
        "conv_pos": taps.shape[-1],
        "conv_pos_groups": width // grouped.shape[1],
        "relative_position_embedding": table is not None,
        "gru_rel_pos": table is not None,
        "num_buckets": DEFAULTS["num_buckets"] if table is None else table.shape[0],
    }


def conv_layers(text: str) -> list[tuple[int, int, int]]:
    """Returns (channels, kernel, stride) of each convolution from fairseq's expression.

    For example "[(512,10,5)] + [(512,3,2)] * 4": lists of triples, joined by + and repeated
    by *. Read as syntax, never evaluated.
    """

    def read(node: ast.expr) -> list[tuple[int, ...]]:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return read(node.left) + read(node.right)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            times, items = (
                (node.left, node.right)
                if isinstance(node.left, ast.Constant)
                else (node.right, node.left)
            )
            count = ast.literal_eval(times)
            if not isinstance(count, int) or not 0 < count <= 64:
                raise ValueError
            return read(items) * count
        if isinstance(node, ast.List):
            return [tuple(ast.literal_eval(item)) for item in node.elts]
        raise ValueError

    try:
        layers = read(ast.parse(str(text).strip(), mode="eval").body)
        if not 0 < len(layers) <= 64:
            raise ValueError
        for layer in layers:
            if len(layer) != 3 or not all(isinstance(n, int) and n > 0 for n in layer):
                raise ValueError
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        raise CheckpointError(
            f"conv_feature_layers must read like [(512,10,5)] + [(512,3,2)] * 4, got {text!r:.80}"
        ) from None
    return [(channels, kernel, stride) for channels, kernel, stride in layers]
