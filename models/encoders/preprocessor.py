"""How a model's folder says that sound is prepared for it: read as transformers reads it.

transformers 5 writes a processor's parts into processor_config.json, older versions wrote the
feature extractor's alone into preprocessor_config.json; where a folder has both, the nested entry
counts, as in transformers' own FeatureExtractionMixin.get_feature_extractor_dict. What is said
there is obeyed, or the model is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from . import hub
from .base import SAMPLE_RATE, EncoderUnavailable

EPSILON = 1e-7  # what transformers adds to the variance where it scales utterances
EXTRACTORS = {  # model type -> the class that prepares its sound; any other type: the first
    "": "Wav2Vec2FeatureExtractor",
    "whisper": "WhisperFeatureExtractor",
    "wav2vec2-bert": "SeamlessM4TFeatureExtractor",
}


@dataclass
class Preprocessor:
    """The settings of a model's feature extractor."""

    given: str = ""  # "setting=model", for error sentences
    file: str = ""  # the file they are from, "" where the folder has none
    settings: dict[str, Any] = field(default_factory=dict)

    def check(self, model_type: str, **fixed: float) -> None:
        """Raises EncoderUnavailable where sound would have to be prepared in another way than here.

        `fixed` are the values that the named settings must have where they are set.
        """
        known = EXTRACTORS.get(model_type, EXTRACTORS[""])
        kind = self.settings.get("feature_extractor_type", known)
        if kind != known:
            raise EncoderUnavailable(
                f"{self.given} has its sound prepared by {kind} ({self.file}); for models of type "
                f"'{model_type}' only {known} is known here"
            )
        rate = self.settings.get("sampling_rate", SAMPLE_RATE)
        if rate != SAMPLE_RATE:
            raise EncoderUnavailable(
                f"{self.given} was trained on sound of {rate} Hz (sampling_rate in {self.file}), "
                f"and sound is given to encoders at {SAMPLE_RATE} Hz here; give a model of "
                f"{SAMPLE_RATE} Hz"
            )
        for name, wanted in fixed.items():
            value = self.settings.get(name, wanted)
            if value != wanted:
                raise EncoderUnavailable(
                    f"{self.given} sets {name} to {value!r:.40} in {self.file}, and only "
                    f"{wanted:g} is known here for models of type '{model_type}'"
                )

    def normalize(self, unsaid: bool) -> bool:
        """Returns whether each utterance is scaled; `unsaid` where no file says anything."""
        if not self.file:
            return unsaid
        value = self.settings.get("do_normalize", True)  # transformers' own default
        if not isinstance(value, bool):
            raise EncoderUnavailable(
                f"{self.given} sets do_normalize to {value!r:.40} in {self.file}; it must be true "
                f"or false"
            )
        return value

    @property
    def epsilon(self) -> float:
        """What is added to the variance; `semi convert` writes fairseq's into the folder."""
        value = self.settings.get("normalize_epsilon", EPSILON)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
            raise EncoderUnavailable(
                f"{self.given} sets normalize_epsilon to {value!r:.40} in {self.file}; it must be "
                f"a small number such as 1e-7"
            )
        return float(value)


def read_preprocessor(source: hub.HubSource) -> Preprocessor:
    """Returns what a model folder says of the preparation of its sound."""
    given = f"{source.setting}={source.name}"
    nested, plain = "processor_config.json", "preprocessor_config.json"
    content = hub.load_json(source, nested)
    for name in ("feature_extractor", "audio_processor"):
        if isinstance(content.get(name), dict):
            return Preprocessor(given, nested, content[name])
    settings = hub.load_json(source, plain)
    return Preprocessor(given, plain if settings else "", settings)
