"""Fusion models behind one interface: (inputs, present) -> FusionOutput.

Names are fetched when first used, so that reading a configuration does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .build import FUSIONS, build_fusion
    from .config import ContrastConfig, FusionConfig
    from .contrastive import contrastive_terms, group_means, permutation_control, retrieval_at_1
    from .output import FusionOutput

_HOME = {
    "FUSIONS": "build",
    "build_fusion": "build",
    "ContrastConfig": "config",
    "FusionConfig": "config",
    "contrastive_terms": "contrastive",
    "group_means": "contrastive",
    "permutation_control": "contrastive",
    "retrieval_at_1": "contrastive",
    "FusionOutput": "output",
}

__all__ = [
    "FUSIONS",
    "ContrastConfig",
    "FusionConfig",
    "FusionOutput",
    "build_fusion",
    "contrastive_terms",
    "group_means",
    "permutation_control",
    "retrieval_at_1",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
