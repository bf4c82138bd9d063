"""`semi demo`: the main job on the bundled real speech, offline, on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .config import load_config
from .data.corpora import bundled_emodb
from .run import Run
from .words import run_words

RECIPE = Path(__file__).resolve().parents[1] / "configs" / "demo.yaml"


def demo(overrides: Sequence[str] = ()) -> str:
    """Trains configs/demo.yaml afresh and returns what the run says; replaces an earlier demo."""
    from .self_training import self_train

    config = load_config(RECIPE, [f"data.manifest={bundled_emodb()}", *overrides])
    path = Path(config.runs_dir, config.name)
    Run.remove(path)
    self_train(config)
    return run_words(path)
