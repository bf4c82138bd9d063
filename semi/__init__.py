"""Semi-supervised self-training of multimodal emotion models.

>>> import semi
>>> config = semi.load_config("configs/demo.yaml", ["seed=1"])
>>> result = semi.self_train(config)
>>> semi.load("runs/demo").predict(["a.wav"], texts=["..."])
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

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


def _refuse_foreign(names: tuple[str, ...] = ("models", "noise", "pseudo_label")) -> None:
    """Raises ImportError when Python would find another package of one of these common names."""
    home = Path(__file__).resolve().parent.parent
    for name in names:
        spec = importlib.util.find_spec(name)
        places = [] if spec is None else list(spec.submodule_search_locations or [spec.origin])
        if str(home / name) not in {str(Path(p).resolve()) for p in places if p}:
            where = f"finds {places[0]} first" if places else "finds none"
            raise ImportError(
                f"semi needs its own package '{name}' in {home / name}, but Python {where}; take "
                "that one's folder out of PYTHONPATH or start from another folder"
            )


_refuse_foreign()
