"""Checkpoints of HuBERT, wav2vec 2.0 and WavLM as transformers models, without their own code.

Of fairseq and of Microsoft's unilm, and the variants that torchaudio and s3prl made of them.
Nothing in the file is run; the architecture is read from the checkpoint's own settings.
"""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from .checkpoint_keys import POSITIONS, fit_positions, is_emotion2vec, rename, split_prefix
from .fairseq_settings import DEFAULTS, conv_layers, from_shapes, read_source
from .hub import foreign_torchaudio, quiet
from .unpickle import CheckpointError, load_inert

EPSILON = 1e-5  # fairseq scales waveforms by layer_norm
NORMS = {"default": "group", "layer_norm": "layer"}  # extractor_mode -> transformers' word
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_fast": "gelu_new",
    "gelu_accurate": "gelu_new",
    "relu": "relu",
    "swish": "silu",
    "tanh": "tanh",
    "linear": "linear",
}


@dataclass
class LoadedFairseq:
    """An encoder read from a checkpoint file."""

    model: Any  # transformers' HubertModel or its kin, in eval mode, float32
    normalize: bool  # True: every waveform is brought to mean 0 and variance 1 first
    kind: str  # hubert | wav2vec2 | wavlm | data2vec-audio
    config: dict[str, Any] = field(default_factory=dict)  # the architecture, fairseq's words
    ignored: list[str] = field(default_factory=list)  # weights of heads, left in the file


def load_checkpoint(path: str | os.PathLike[str]) -> LoadedFairseq:
    """Returns the encoder in a file of fairseq, unilm, s3prl or torchaudio; nothing in it is run.

    What the file is follows from its content, not from what its name ends in. A plain table of
    weights under transformers' names is read as well, where their shapes tell the architecture.
    """
    content = load_inert(path)
    try:
        return _build(content)
    except CheckpointError as error:
        raise CheckpointError(f"{path} cannot be used: {error}") from None
    except (RecursionError, AttributeError, TypeError, KeyError, IndexError) as error:
        raise CheckpointError(
            f"{path} cannot be used: its content is not laid out as a checkpoint "
            f"({type(error).__name__}: {error})"
        ) from None


load_fairseq = load_checkpoint


def convert(checkpoint: str | os.PathLike[str], out_dir: str | os.PathLike[str]) -> Path:
    """Writes a checkpoint as a Hugging Face folder that HubertModel.from_pretrained loads.

    The folder appears whole or not at all, and an existing one is never overwritten.
    """
    from transformers import Wav2Vec2FeatureExtractor

    target = Path(out_dir)
    if target.exists():
        raise CheckpointError(f"{target} exists already; name a new folder")
    if is_emotion2vec(load_inert(checkpoint)):
        raise CheckpointError(
            f"{checkpoint} is an emotion2vec, for which Hugging Face has no class; it needs no "
            f"conversion: {shlex.quote(f'encoders.speech.model={checkpoint}')}"
        )
    loaded = load_checkpoint(checkpoint)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        with quiet():
            loaded.model.save_pretrained(partial, safe_serialization=True)
        Wav2Vec2FeatureExtractor(
            do_normalize=loaded.normalize,
            return_attention_mask=loaded.model.config.feat_extract_norm == "layer",
            normalize_epsilon=EPSILON,  # read by speech_models; transformers itself adds 1e-7
        ).save_pretrained(partial)
        partial.chmod(0o755)  # mkdtemp makes it private
        os.replace(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _build(content: Any) -> LoadedFairseq:
    """Returns the encoder in what a checkpoint file holds."""
    source = read_source(content)
    style, prefix = split_prefix(source.weights)
    weights, heads = rename(source.weights, style, prefix)
    settings = {**DEFAULTS, **(source.stated or from_shapes(weights))}
    settings = {name: settings[name] for name in DEFAULTS}
    kind = "wavlm" if POSITIONS in weights else source.kind
    _check_layers(settings, weights, kind)
    config = _transformers_config(settings, kind, masked="masked_spec_embed" in weights)
    normalize = source.normalize
    if normalize is None:
        # fairseq's default is False; every published model that normalises its convolutions by
        # layer, torchaudio's files without settings among them, wants normalised waveforms.
        normalize = not source.stated and settings["extractor_mode"] == "layer_norm"
    model = fill_model(config, weights)
    return LoadedFairseq(model, normalize, kind, settings, heads)


def _check_layers(settings: dict[str, Any], weights: dict[str, torch.Tensor], kind: str) -> None:
    """Refuses settings that ask for layers not there, and WavLM without its own positions."""
    for name in ("relative_position_embedding", "gru_rel_pos"):
        if settings[name] is not (kind == "wavlm"):
            raise CheckpointError(
                f"{name} is {settings[name]!r:.20} in its settings, and its weights are those of "
                f"{kind}; only models with gated relative positions are read as WavLM"
            )
    layers = {name.split(".")[2] for name in weights if name.startswith("encoder.layers.")}
    asked = settings["encoder_layers"]
    if type(asked) is int and asked != len(layers):
        raise CheckpointError(
            f"its settings ask for {asked} layers, but its weights are those of {len(layers)}"
        )


def _check_settings(settings: dict[str, Any]) -> None:
    """Raises CheckpointError where a setting is none that is read here."""
    for name, only in (
        ("layer_type", "transformer"),
        ("pos_enc_type", "abs"),
        ("sample_rate", 16000),
    ):
        if settings[name] != only:
            raise CheckpointError(f"{name} must be {only} to be read here, got {settings[name]!r}")
    for name, known in (("extractor_mode", NORMS), ("activation_fn", ACTIVATIONS)):
        if settings[name] not in known:
            raise CheckpointError(
                f"{name} must be one of {', '.join(known)}, got {settings[name]!r}"
            )
    for name, default in DEFAULTS.items():
        whole = isinstance(default, int) and not isinstance(default, bool)
        if whole and not (type(settings[name]) is int and settings[name] > 0):
            raise CheckpointError(f"{name} must be a whole number, got {settings[name]!r}")


def _transformers_config(settings: dict[str, Any], kind: str, *, masked: bool) -> Any:
    """Returns transformers' config of the same architecture."""
    from transformers import Data2VecAudioConfig, HubertConfig, Wav2Vec2Config, WavLMConfig

    _check_settings(settings)
    channels, kernels, strides = zip(*conv_layers(settings["conv_feature_layers"]), strict=True)
    depth = settings["pos_conv_depth"]
    positions = {"num_conv_pos_embeddings": settings["conv_pos"]}
    config: Any = {"hubert": HubertConfig, "wavlm": WavLMConfig}.get(kind, Wav2Vec2Config)
    if depth > 1:  # several positional convolutions: transformers calls that data2vec-audio
        if settings["extractor_mode"] != "layer_norm" or settings["layer_norm_first"]:
            raise CheckpointError(
                f"pos_conv_depth {depth} is read only with extractor_mode layer_norm and without "
                f"layer_norm_first"
            )
        config = Data2VecAudioConfig
        taps = max(3, settings["conv_pos"] // depth)
        positions = {"num_conv_pos_embeddings": depth, "conv_pos_kernel_size": taps}
    elif config is HubertConfig:
        positions["conv_pos_batch_norm"] = settings["conv_pos_batch_norm"]
    elif config is WavLMConfig:
        positions["num_buckets"] = settings["num_buckets"]
        positions["max_bucket_distance"] = settings["max_distance"]
    return config(
        hidden_size=settings["encoder_embed_dim"],
        num_hidden_layers=settings["encoder_layers"],
        num_attention_heads=settings["encoder_attention_heads"],
        intermediate_size=settings["encoder_ffn_embed_dim"],
        hidden_act=ACTIVATIONS[settings["activation_fn"]],
        hidden_dropout=settings["dropout"],
        attention_dropout=settings["attention_dropout"],
        activation_dropout=settings["activation_dropout"],
        feat_proj_dropout=settings["dropout_input"],
        layerdrop=settings["encoder_layerdrop"],
        feat_extract_norm=NORMS[settings["extractor_mode"]],
        feat_extract_activation="gelu",
        conv_dim=channels,
        conv_kernel=kernels,
        conv_stride=strides,
        conv_bias=settings["conv_bias"],
        num_conv_pos_embedding_groups=settings["conv_pos_groups"],
        do_stable_layer_norm=settings["layer_norm_first"],
        **({} if masked else {"mask_time_prob": 0.0, "mask_feature_prob": 0.0}),
        **positions,
    )


def fill_model(config: Any, weights: dict[str, torch.Tensor]) -> Any:
    """Returns the model with these weights; any name or shape that does not fit is an error."""
    with foreign_torchaudio("the checkpoint"):
        from transformers import Data2VecAudioModel, HubertModel, Wav2Vec2Model, WavLMModel
    kinds = {"hubert": HubertModel, "wav2vec2": Wav2Vec2Model, "wavlm": WavLMModel}
    with torch.device("meta"):  # no random weights are drawn only to be replaced
        model: Any = kinds.get(config.model_type, Data2VecAudioModel)(config)
    expected = model.state_dict()
    weights = fit_positions(weights, set(expected))
    projection = "feature_projection.projection."
    if projection + "weight" not in weights and config.conv_dim[-1] == config.hidden_size:
        # fairseq has no projection between equal widths, transformers always has one.
        weights[projection + "weight"] = torch.eye(config.hidden_size)
        weights[projection + "bias"] = torch.zeros(config.hidden_size)
    missing = sorted(set(expected) - set(weights))
    unexpected = sorted(set(weights) - set(expected))
    if missing or unexpected:
        raise CheckpointError(
            f"its weights do not fit its settings: {_some('missing', missing)}; "
            f"{_some('unexpected', unexpected)}"
        )
    for name, value in weights.items():
        if value.shape != expected[name].shape:
            raise CheckpointError(
                f"{name} has shape {tuple(value.shape)}, but its settings ask for "
                f"{tuple(expected[name].shape)}"
            )
    check_finite(weights)
    owned = {n: v.detach().to(expected[n].dtype, copy=True) for n, v in weights.items()}
    model.load_state_dict(owned, strict=True, assign=True)
    return model.eval()


def check_finite(weights: dict[str, torch.Tensor]) -> None:
    """Refuses weights that hold NaN or infinity: every vector made with them would, too."""
    wrong = [n for n, v in weights.items() if v.is_floating_point() and not v.isfinite().all()]
    if wrong:
        raise CheckpointError(
            f"{len(wrong)} of its {len(weights)} weights hold NaN or infinity (first: {wrong[0]}); "
            f"download it again, or take an earlier checkpoint"
        )


def _some(word: str, names: list[str]) -> str:
    """Returns 'missing a, b, c and 4 more', or 'nothing missing'."""
    if not names:
        return f"nothing {word}"
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{word} {', '.join(names[:3])}{more}"
