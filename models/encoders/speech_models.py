"""Which pretrained speech encoder a setting means, and how its weights are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import hub
from .backbone import Backbone
from .base import EncoderUnavailable
from .wav2vec import Wav2VecBackbone
from .whisper import WhisperBackbone

WAV2VEC_TYPES = ("hubert", "wav2vec2", "wavlm", "data2vec-audio", "unispeech", "unispeech-sat")
MODEL_TYPES = (*WAV2VEC_TYPES, "whisper")
SETTING = "encoders.speech.model"


@dataclass
class SpeechModel:
    """What is known of a pretrained encoder, most of it before its weights are read."""

    model_type: str  # as in transformers' config.json
    depth: int  # layers
    width: int  # D
    normalize: bool  # each utterance is scaled to zero mean and unit variance
    load: Callable[[], Any]  # gives the transformers model, in float32
    identity: dict[str, Any] = field(default_factory=dict)
    epsilon: float = 1e-7  # added to the variance where utterances are scaled
    folder: Path | None = None  # where its small files lie; None for a checkpoint file


def speech_model(name: str, revision: str = "") -> SpeechModel:
    """Returns the model of a hub name, a local folder or a fairseq checkpoint."""
    if hub.is_file_name(name):
        return _file_model(name, revision)
    source = hub.find(name, revision, setting=SETTING)
    config = hub.load_config(source)
    if config.model_type not in MODEL_TYPES:
        raise EncoderUnavailable(
            f"{SETTING}={name} is of type '{config.model_type}', which is not a speech encoder "
            f"known here; known are {', '.join(MODEL_TYPES)}"
        )
    found = describe(
        config,
        load=lambda: _load(source, config),
        identity=source.identity,
        preprocessor=hub.load_json(source, "preprocessor_config.json"),
    )
    found.folder = source.folder
    return found


def describe(
    config: Any,
    *,
    load: Callable[[], Any],
    identity: dict[str, Any],
    preprocessor: dict[str, Any] | None = None,
) -> SpeechModel:
    """Returns the SpeechModel of a transformers configuration and a way to its weights."""
    if config.model_type == "whisper":
        depth, width, normalize = config.encoder_layers, config.d_model, False
        epsilon = 1e-7
    else:
        depth, width = config.num_hidden_layers, config.hidden_size
        normalize = getattr(config, "feat_extract_norm", "layer") == "layer"
        if preprocessor:
            normalize = bool(preprocessor.get("do_normalize", True))
        epsilon = float((preprocessor or {}).get("normalize_epsilon", 1e-7))
    return SpeechModel(config.model_type, depth, width, normalize, load, identity, epsilon)


def make_backbone(model: Any) -> Backbone:
    """Returns a transformers speech encoder behind the Backbone interface."""
    if model.config.model_type == "whisper":
        return WhisperBackbone(model)
    return Wav2VecBackbone(model)


def _load(source: hub.Source, config: Any) -> Any:
    if config.model_type != "whisper":
        return hub.load_weights(source, "AutoModel")
    if "WhisperEncoder" in (config.architectures or []):
        return hub.load_weights(source, "models.whisper.modeling_whisper.WhisperEncoder")
    return hub.load_weights(source, "WhisperModel", needed="encoder.").encoder


def _file_model(name: str, revision: str) -> SpeechModel:
    """Returns the model of a checkpoint file, whatever its name ends in; read without fairseq."""
    from .fairseq import EPSILON, load_fairseq

    path = Path(name).expanduser()
    if not path.is_file():
        raise EncoderUnavailable(f"{SETTING}={name} is not a file; give the checkpoint's path")
    weights = [pattern for group in hub.WEIGHT_FILES for pattern in group]
    if (path.parent / "config.json").is_file() and any(path.match(p) for p in weights):
        return speech_model(str(path.parent), revision)  # the weights of a Hugging Face folder
    loaded = load_fairseq(path)
    found = describe(
        loaded.model.config, load=lambda: loaded.model, identity={"sha256": hub.file_sha256(path)}
    )
    found.normalize, found.epsilon = loaded.normalize, EPSILON
    return found
