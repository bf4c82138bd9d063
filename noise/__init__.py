"""Noise schedules and corruptions of embeddings; imports nothing else of this project.

Names are fetched when first used, so that reading a configuration does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import NoiseConfig
    from .corruption import Corruption, Mix, draw_mix, modality_dropout
    from .schedules import SCHEDULES, alpha_bar

_HOME = {
    "NoiseConfig": "config",
    "Corruption": "corruption",
    "Mix": "corruption",
    "draw_mix": "corruption",
    "modality_dropout": "corruption",
    "SCHEDULES": "schedules",
    "alpha_bar": "schedules",
}

__all__ = [
    "SCHEDULES",
    "Corruption",
    "Mix",
    "NoiseConfig",
    "alpha_bar",
    "draw_mix",
    "modality_dropout",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
