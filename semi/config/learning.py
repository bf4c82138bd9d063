"""The settings that the rounds read, without data, encoders and files."""

from __future__ import annotations

from dataclasses import dataclass, field

from models.fusion import ContrastConfig, FusionConfig
from noise import NoiseConfig
from pseudo_label import SelectionConfig

from .task import TaskConfig
from .training import RoundsConfig, TrainConfig, VoteConfig

RECIPES = ("none", "auto")


@dataclass
class LearningConfig:
    """How models are trained and how rounds of self-training go: what `run_rounds` needs."""

    seed: int = 0
    """The one seed; the same config, data and seed give the same ledger."""
    recipe: str = "auto"
    """auto (what is not set below is chosen by evidence and gold) | none (all as set below)."""
    task: TaskConfig = field(default_factory=TaskConfig)
    """What is predicted of an utterance: a class, several, valence and arousal, or both."""
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    """Noisy views of the embeddings that training sees."""
    model: FusionConfig = field(default_factory=FusionConfig)
    """The fusion model on top of the embeddings."""
    contrast: ContrastConfig = field(default_factory=ContrastConfig)
    """Contrastive losses between modalities, and between original and noisy views."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """How one round's models are trained."""
    vote: VoteConfig = field(default_factory=VoteConfig)
    """How the heads of a model are combined into one probability."""
    select: SelectionConfig = field(default_factory=SelectionConfig)
    """Which rows of the pool become pseudo-labelled, with which label and weight."""
    rounds: RoundsConfig = field(default_factory=RoundsConfig)
    """The rounds of self-training and the gate that each must pass."""
    given: list[str] = field(default_factory=list, metadata={"constant": True}, compare=False)
    """Dotted keys that a file or a command line set: a recipe leaves them, defaults or not."""

    def __post_init__(self) -> None:
        """Raises ValueError for an unknown recipe or a seed that is none."""
        if self.recipe not in RECIPES:
            raise ValueError(f"recipe must be one of {', '.join(RECIPES)}, got '{self.recipe}'")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must be in [0, 2**63), got {self.seed}")
