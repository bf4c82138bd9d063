"""The settings of the feature store and of standardisation."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Protocol

from models.encoders import ArrayConfig, SpeechConfig, TextConfig

from ..data.config import DataConfig

STANDARDIZE = ("auto", "global", "speaker", "none")


@dataclass
class FeaturesConfig:
    """Where features are kept and how they are scaled before a model sees them."""

    store: str = "feature_store"
    """Folder of the feature store, or s3://bucket/prefix; may be shared by runs and machines."""
    standardize: str = "auto"
    """Mean 0, deviation 1 on training rows: auto | global | speaker (each speaker's own) | none.

    auto chooses between global and speaker by gold out-of-fold; global where no speaker is known
    or fewer than 20 rows of training are labelled.
    """
    clamp: float = 5.0
    """Standardised values are cut at +- this; 0 = never."""
    pca: int | None = None
    """Keep this many principal components of each modality, fitted on training rows; null = all."""
    max_frames: int = 32
    """pooling: frames: longer sequences are averaged down to this many (memory: N x T x D)."""
    speaker_shrink: float = 5.0
    """Speaker statistics lean on the global ones as if this many rows of those had been seen."""

    def __post_init__(self) -> None:
        """Raises ValueError naming the first setting that is not allowed."""
        if not self.store:
            raise ValueError("store must be the path of a folder, got ''")
        if self.standardize not in STANDARDIZE:
            raise ValueError(
                f"standardize must be one of {', '.join(STANDARDIZE)}, got '{self.standardize}'"
            )
        if not self.clamp >= 0:
            raise ValueError(f"clamp must be >= 0 (0 = never), got {self.clamp}")
        if self.pca is not None and self.pca < 1:
            raise ValueError(f"pca must be >= 1 or null, got {self.pca}")
        if self.max_frames < 1:
            raise ValueError(f"max_frames must be >= 1, got {self.max_frames}")
        if not self.speaker_shrink >= 0:
            raise ValueError(f"speaker_shrink must be >= 0, got {self.speaker_shrink}")


@dataclass
class EncodersConfig:
    """What turns an utterance into embeddings, one encoder a modality."""

    speech: SpeechConfig = field(default_factory=SpeechConfig)
    """Audio -> embedding; model: none leaves the modality out."""
    text: TextConfig = field(default_factory=TextConfig)
    """Text -> embedding; model: none leaves the modality out."""
    extra: dict[str, ArrayConfig] = field(default_factory=dict)
    """Further modalities as precomputed arrays, e.g. {video: {column: video}}."""

    def __post_init__(self) -> None:
        """Raises ValueError when a further modality takes the name of a built-in one."""
        for name in self.extra:
            if name in ("speech", "text", "fused") or not re.fullmatch(r"[A-Za-z_]\w*", name):
                raise ValueError(
                    f"extra: '{name}' cannot name a further modality; use a word of letters, "
                    "digits and _ other than speech, text and fused"
                )

    @property
    def inputs(self) -> list[str]:
        """Returns which of the columns audio and text some encoder reads."""
        sections = {"audio": self.speech, "text": self.text}
        return [column for column, section in sections.items() if section.model != "none"]

    @property
    def keeps_frames(self) -> bool:
        """Says whether any modality keeps its frames (pooling: frames)."""
        sections = (self.speech, self.text, *self.extra.values())
        return any(s.pooling == "frames" and getattr(s, "model", "") != "none" for s in sections)


class ExtractionConfig(Protocol):
    """What extraction reads of a run's settings; `semi.config.schema.Config` has it."""

    data: DataConfig
    encoders: EncodersConfig
    features: FeaturesConfig
    device: str
    precision: str
    engine: str
    ray_address: str
    processes: int
