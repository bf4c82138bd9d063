"""The fusion models by name."""

from __future__ import annotations

from .base import Concat, Fusion
from .config import FusionConfig
from .contrastive import Contrastive

FUSIONS: dict[str, type[Fusion]] = {"contrastive": Contrastive, "concat": Concat}


def build_fusion(config: FusionConfig, dims: dict[str, int], classes: int) -> Fusion:
    """Returns a new model of `config.kind` for `dims` name -> D (in column order) and `classes`."""
    if config.kind not in FUSIONS:
        raise ValueError(f"kind must be one of {', '.join(FUSIONS)}, got '{config.kind}'")
    return FUSIONS[config.kind](config, dims, classes)
