"""Which pretrained speech encoder a setting means, and how its weights are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import hub
from .backbone import Backbone
from .base import EncoderUnavailable
from .emotion2vec import Emotion2vecBackbone, Emotion2vecModel
from .preprocessor import EPSILON, Preprocessor, read_preprocessor
from .w2v_bert import STRIDE, W2vBertBackbone
from .wav2vec import Wav2VecBackbone
from .whisper import WhisperBackbone

WAV2VEC_TYPES = ("hubert", "wav2vec2", "wavlm", "data2vec-audio", "unispeech", "unispeech-sat")
MODEL_TYPES = (*WAV2VEC_TYPES, "wav2vec2-bert", "whisper")
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
    epsilon: float = EPSILON  # added to the variance where utterances are scaled
    notes: list[str] = field(default_factory=list)  # what was taken for granted: sentences
    folder: Path | None = None  # where its small files lie; None for a checkpoint file


def speech_model(name: str, revision: str = "") -> SpeechModel:
    """Returns the model of a hub name, a local folder or a checkpoint file."""
    if hub.is_file_name(name):
        return _file_model(name, revision)
    if _is_funasr(name):
        folder, identity = hub.find_funasr(name, revision, setting=SETTING)
        return _checkpoint_model(folder / hub.FUNASR[0], identity)
    source = hub.find(name, revision, setting=SETTING)
    config = hub.load_config(source)
    if config.model_type not in MODEL_TYPES:
        raise EncoderUnavailable(
            f"{SETTING}={name} is of type '{config.model_type}', which is not a speech encoder "
            f"known here; known are {', '.join(MODEL_TYPES)}"
        )
    told = read_preprocessor(source)
    found = describe(
        config, load=lambda: _load(source, config), identity=source.identity, preprocessor=told
    )
    found.folder = source.folder
    if not told.file and config.model_type in WAV2VEC_TYPES:
        found.notes.append(
            f"{SETTING}={name} does not say how its sound is prepared (it has no "
            f"preprocessor_config.json): utterances are {'' if found.normalize else 'not '}scaled "
            f"to mean 0 and variance 1, as published models of its kind want"
        )
    return found


def describe(
    config: Any,
    *,
    load: Callable[[], Any],
    identity: dict[str, Any],
    preprocessor: Preprocessor | None = None,
) -> SpeechModel:
    """Returns the SpeechModel of a transformers configuration and a way to its weights."""
    told = preprocessor or Preprocessor()
    _check_ending(config, told.given)
    normalize = False
    if config.model_type == "whisper":
        depth, width = config.encoder_layers, config.d_model
        told.check("whisper", feature_size=config.num_mel_bins, hop_length=160, n_fft=400, dither=0)
    else:
        depth, width = config.num_hidden_layers, config.hidden_size
    if config.model_type == "wav2vec2-bert":
        bands = config.feature_projection_input_dim // STRIDE
        told.check("wav2vec2-bert", feature_size=bands, num_mel_bins=bands, stride=STRIDE)
    elif config.model_type != "whisper":
        told.check(config.model_type, feature_size=1)
        # fairseq's rule, where a folder says nothing: models that normalise their convolutions by
        # layer were trained on scaled sound.
        normalize = told.normalize(getattr(config, "feat_extract_norm", "layer") == "layer")
    return SpeechModel(config.model_type, depth, width, normalize, load, identity, told.epsilon)


def _check_ending(config: Any, given: str) -> None:
    """Refuses encoders whose last hidden state comes out of further parts, not known here."""
    for name in ("add_adapter", "use_intermediate_ffn_before_adapter"):
        if getattr(config, name, False):
            raise EncoderUnavailable(
                f"{given} has further parts after its last layer ({name} in config.json), which "
                f"are not computed here; give the model that they were added to"
            )


def make_backbone(model: Any) -> Backbone:
    """Returns a speech encoder behind the Backbone interface."""
    if isinstance(model, Emotion2vecModel):
        return Emotion2vecBackbone(model)
    if model.config.model_type == "whisper":
        return WhisperBackbone(model)
    if model.config.model_type == "wav2vec2-bert":
        return W2vBertBackbone(model)
    return Wav2VecBackbone(model)


def _load(source: hub.HubSource, config: Any) -> Any:
    if config.model_type != "whisper":
        return hub.load_weights(source, "AutoModel")
    if "WhisperEncoder" in (config.architectures or []):
        return hub.load_weights(source, "models.whisper.modeling_whisper.WhisperEncoder")
    return hub.load_weights(source, "WhisperModel", needed="encoder.").encoder


def _file_model(name: str, revision: str) -> SpeechModel:
    """Returns the model of a checkpoint file, whatever its name ends in; read without fairseq."""
    path = Path(name).expanduser()
    if not path.is_file():
        raise EncoderUnavailable(f"{SETTING}={name} is not a file; give the checkpoint's path")
    weights = [pattern for group in hub.WEIGHT_FILES for pattern in group]
    if (path.parent / "config.json").is_file() and any(path.match(p) for p in weights):
        return speech_model(str(path.parent), revision)  # the weights of a Hugging Face folder
    if path.name == hub.FUNASR[0] and _is_funasr(str(path.parent)):
        return speech_model(str(path.parent), revision)
    return _checkpoint_model(path, {"sha256": hub.file_sha256(path)})


def _is_funasr(name: str) -> bool:
    """Returns whether a folder, or a name on the hub, is a model as FunASR publishes it."""
    path = Path(name).expanduser()
    if path.is_dir():
        return all((path / file).exists() for file in hub.FUNASR)
    return "emotion2vec" in name.lower() and hub.is_hub_name(name)


def _checkpoint_model(path: Path, identity: dict[str, Any]) -> SpeechModel:
    """Returns the model of a checkpoint of fairseq, unilm, s3prl, torchaudio or emotion2vec."""
    from .checkpoint_keys import is_emotion2vec
    from .emotion2vec_files import load_emotion2vec
    from .fairseq import EPSILON, load_fairseq
    from .unpickle import load_inert

    load = load_emotion2vec if is_emotion2vec(load_inert(path)) else load_fairseq
    loaded = load(path)
    found = describe(loaded.model.config, load=lambda: loaded.model, identity=identity)
    found.model_type, found.normalize, found.epsilon = loaded.kind, loaded.normalize, EPSILON
    return found
