"""emotion2vec's files: the authors' and FunASR's checkpoints, and FunASR's folders.

A folder holds config.yaml and model.pt, a file of fairseq its own settings. Nothing is run.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from .checkpoint_keys import AUDIO, MARK
from .emotion2vec import Emotion2vecModel
from .fairseq import LoadedFairseq, fill_model
from .fairseq_settings import STRIDES, conv_layers
from .lfs import is_lfs_pointer, pulled_by
from .unpickle import CheckpointError, load_inert, plain

CONFIG, WEIGHTS = "config.yaml", "model.pt"
# Heads and teachers: no part of the encoder.
HEADS = re.compile(rf"^(_ema|proj|recon_proj|cls_\w+|{re.escape(AUDIO)}decoder)(\.|$)")
BLOCK_RENAMES = [
    (r"\.attn\.proj\.", ".attention.out_proj."),
    (r"\.norm1\.", ".layer_norm."),
    (r"\.norm2\.", ".final_layer_norm."),
    (r"\.mlp\.fc1\.", ".feed_forward.intermediate_dense."),
    (r"\.mlp\.fc2\.", ".feed_forward.output_dense."),
]
MODEL_RENAMES = [
    (r"^local_encoder\.conv_layers\.(\d+)\.0\.", r"feature_extractor.conv_layers.\1.conv."),
    (
        r"^local_encoder\.conv_layers\.(\d+)\.2\.1\.",
        r"feature_extractor.conv_layers.\1.layer_norm.",
    ),
    (r"^project_features\.1\.", "feature_projection.layer_norm."),
    (r"^project_features\.2\.", "feature_projection.projection."),
    (r"^context_encoder\.norm\.", "encoder.layer_norm."),
]  # fmt: skip
# What every published emotion2vec says, for files that do not.
PUBLISHED: dict[str, Any] = {
    "layer_norm_first": False,
    "norm_eps": 1e-5,
    "norm_affine": True,
    "normalize": True,
    "extractor_mode": "layer_norm",
    "conv_pos_pre_ln": False,
    "use_alibi_encoder": True,
    "learned_alibi": False,
}
ONLY = ("layer_norm_first", "norm_affine", "extractor_mode", "conv_pos_pre_ln",
        "use_alibi_encoder", "learned_alibi")  # fmt: skip
POSITION = re.compile(rf"^{re.escape(AUDIO)}relative_positional_encoder\.\d+\.0\.")
CONVOLUTION = re.compile(rf"^{re.escape(AUDIO)}local_encoder\.conv_layers\.\d+\.0\.weight$")
HEAD_WIDTH = 64  # features a head, of the published models


def load_emotion2vec(path: Path) -> LoadedFairseq:
    """Returns the encoder of a checkpoint file, or of a FunASR folder's model.pt."""
    beside = path.parent / CONFIG
    content = load_inert(path)
    try:
        stated = _stated(content, _model_conf(beside) if path.name == WEIGHTS else {})
        return _build(content.get("model", content), stated)
    except CheckpointError as error:
        raise CheckpointError(f"{path} cannot be used: {error}") from None
    except (RecursionError, AttributeError, TypeError, KeyError, IndexError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be used: its content is not laid out as an emotion2vec "
            f"({type(error).__name__}: {error})"
        ) from None


def _model_conf(path: Path) -> dict[str, Any]:
    """Returns the section model_conf of a FunASR folder's config.yaml, empty without the file."""
    import yaml

    if not path.is_file():
        return {}
    if is_lfs_pointer(path):
        raise CheckpointError(
            f"the {path.name} beside it is a Git LFS pointer, not the file itself; "
            f"{pulled_by(path)}"
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        first = str(error).splitlines()[0]
        raise CheckpointError(f"the {path.name} beside it is not YAML ({first})") from None
    found = content.get("model_conf") if isinstance(content, dict) else None
    if not isinstance(found, dict) or not isinstance(found.get("modalities"), dict):
        raise CheckpointError(f"the {path.name} beside it has no model_conf with modalities")
    return found


def _stated(content: dict[str, Any], model_conf: dict[str, Any]) -> dict[str, Any]:
    """Returns the settings of the encoder and its front end in one table, as far as they are said.

    A model trained further carries the settings of its encoder as `w2v_args`.
    """
    cfg = plain(content.get("cfg")) or {}
    model, task = cfg.get("model") or {}, cfg.get("task") or {}
    inner = model.get("w2v_args") or {}
    sections = [model_conf, inner.get("model") or {}, model]
    model = next((s for s in sections if isinstance(s.get("modalities"), dict)), {})
    tasks = [model_conf, inner.get("task") or {}, task, model]
    flags = [part["normalize"] for part in tasks if isinstance(part.get("normalize"), bool)]
    found = {**model, **(model.get("modalities", {}).get("audio") or {})}
    found = {k: v for k, v in found.items() if v is not None}
    return {**PUBLISHED, **found, **({"normalize": flags[0]} if flags else {})}


def _build(weights: dict[str, Any], stated: dict[str, Any]) -> LoadedFairseq:
    """Returns the encoder with these weights and settings; what does not fit is an error."""
    for name in ONLY:
        if stated[name] != PUBLISHED[name]:
            raise CheckpointError(
                f"{name} must be {PUBLISHED[name]} to be read here, got {stated[name]!r:.40}"
            )
    prefix = next(k for k in weights if k.endswith(MARK))[: -len(MARK)]
    inner = {k: v for k, v in weights.items() if isinstance(v, torch.Tensor)}
    heads = sorted(k for k in inner if not k.startswith(prefix) or HEADS.match(k[len(prefix) :]))
    inner = {k[len(prefix) :]: v for k, v in inner.items() if k not in heads}
    extra, scale = inner.pop(AUDIO + "extra_tokens", None), inner.pop(AUDIO + "alibi_scale", None)
    if extra is None or scale is None:
        raise CheckpointError("it has no extra_tokens or no alibi_scale, which emotion2vec needs")
    config = _config(inner, stated)
    scale = scale.float() if scale.dim() == 5 else scale.float()[None]  # older files: four
    _check_scale(scale, config, stated.get("num_alibi_heads"))
    audio = fill_model(config, _renamed(inner))
    for module in (audio.encoder.layer_norm, *_block_norms(audio)):
        module.eps = float(stated["norm_eps"])
    model = Emotion2vecModel(audio, extra.float().clone(), scale.clone()).eval()
    return LoadedFairseq(model, stated["normalize"], "emotion2vec", stated, heads)


def _config(weights: dict[str, torch.Tensor], stated: dict[str, Any]) -> Any:
    """Returns the config of transformers' model that the blocks and the front end make up."""
    from transformers import Data2VecAudioConfig

    channels, kernels, strides = zip(*_convolutions(weights, stated), strict=True)
    first = weights[AUDIO + "context_encoder.blocks.0.mlp.fc1.weight"]
    width = first.shape[1]
    positions = [v for k, v in weights.items() if POSITION.match(k) and v.dim() == 3]
    return Data2VecAudioConfig(
        hidden_size=width,
        num_hidden_layers=len({k.rsplit(".", 3)[0] for k in weights if ".mlp.fc1.w" in k}),
        num_attention_heads=stated.get("num_heads") or width // HEAD_WIDTH,
        intermediate_size=first.shape[0],
        conv_dim=channels,
        conv_kernel=kernels,
        conv_stride=strides,
        conv_bias=False,
        num_conv_pos_embeddings=len(positions),
        conv_pos_kernel_size=positions[0].shape[2],
        num_conv_pos_embedding_groups=width // positions[0].shape[1],
        mask_time_prob=0.0,
        mask_feature_prob=0.0,
    )


def _convolutions(
    weights: dict[str, torch.Tensor], stated: dict[str, Any]
) -> list[tuple[int, int, int]]:
    """Returns channels, kernel and stride of each convolution on the wave."""
    if "feature_encoder_spec" in stated:
        return conv_layers(stated["feature_encoder_spec"])
    count = len([k for k in weights if CONVOLUTION.match(k)])
    shapes = [weights[f"{AUDIO}local_encoder.conv_layers.{k}.0.weight"].shape for k in range(count)]
    return [(channels, kernel, STRIDES[kernel]) for channels, _, kernel in shapes]


def _check_scale(scale: torch.Tensor, config: Any, biased: int | None) -> None:
    """Refuses a bias that is not one number a model, a layer or a head, and one of some heads."""
    heads, layers = config.num_attention_heads, config.num_hidden_layers
    if biased not in (None, heads):
        raise CheckpointError(f"num_alibi_heads must be its {heads} heads, got {biased!r:.40}")
    flat = scale.dim() == 5 and (scale.shape[1], *scale.shape[3:]) == (1, 1, 1)
    if not flat or scale.shape[0] not in (1, layers) or scale.shape[2] not in (1, heads):
        raise CheckpointError(
            f"its alibi_scale has shape {tuple(scale.shape)}, which fits neither its {layers} "
            f"layers nor its {heads} heads"
        )


def _renamed(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Returns the weights under transformers' names; queries, keys and values taken apart."""
    prenet = len({k.split(".")[4] for k in weights if k.startswith(AUDIO + "context_encoder.bl")})
    renamed = {}
    for name, value in weights.items():
        inner = name.removeprefix(AUDIO)
        block = re.match(r"(context_encoder\.)?blocks\.(\d+)", inner)
        if block:
            number = int(block[2]) + (0 if block[1] else prenet)
            inner = f"encoder.layers.{number}{inner[block.end() :]}"
            if ".attn.qkv." in inner:
                for part, third in zip("qkv", value.chunk(3), strict=True):
                    renamed[inner.replace(".attn.qkv.", f".attention.{part}_proj.")] = third
                continue
        position = re.match(r"relative_positional_encoder\.(\d+)\.0\.", inner)
        if position:
            rest = inner[position.end() :]
            inner = f"encoder.pos_conv_embed.layers.{int(position[1]) - 1}.conv.{rest}"
        for pattern, ours in BLOCK_RENAMES if block else MODEL_RENAMES:
            inner = re.sub(pattern, ours, inner)
        renamed[inner] = value
    return renamed


def _block_norms(audio: Any) -> list[Any]:
    return [n for layer in audio.encoder.layers for n in (layer.layer_norm, layer.final_layer_norm)]
