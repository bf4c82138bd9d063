"""Semi-supervised self-training of multimodal emotion models.

>>> import semi
>>> config = semi.load_config("demo", ["seed=1"])
>>> result = semi.self_train(config)
>>> semi.load("runs/demo").predict(["a.wav"], texts=["..."])
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .foreign import refuse_foreign_packages

if TYPE_CHECKING:
    from .config.schema import Config, load_config
    from .errors import (
        AudioError,
        ConfigError,
        EncoderError,
        ManifestError,
        RunError,
        SemiError,
        StoreError,
    )
    from .features.extract import extract
    from .runs.evaluate import evaluate
    from .runs.predict import load
    from .self_training.train import self_train

__version__ = "0.1.0"

__all__ = [
    "AudioError",
    "Config",
    "ConfigError",
    "EncoderError",
    "ManifestError",
    "RunError",
    "SemiError",
    "StoreError",
    "evaluate",
    "extract",
    "load",
    "load_config",
    "self_train",
]

# Fetched when first used, so that `import semi` and `semi --help` import no torch.
_HOME = {
    "Config": "config.schema",
    "load_config": "config.schema",
    "extract": "features.extract",
    "self_train": "self_training.train",
    "evaluate": "runs.evaluate",
    "load": "runs.predict",
} | {name: "errors" for name in __all__ if name.endswith("Error")}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'semi' has no attribute '{name}'")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


refuse_foreign_packages()
