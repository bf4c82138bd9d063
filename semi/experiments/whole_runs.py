"""Runs that know nothing of each other, trained here, in processes or on a Ray cluster."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from ..config.paths import absolute
from ..config.schema import Config
from ..devices import gpus_of
from ..parallel import run_cells
from ..self_training.train import self_train
from .progress_line import tell_progress


def train_runs(configs: Sequence[Config], *, progress: bool = True) -> list[str]:
    """Trains what is not finished yet and returns the folder of each run.

    Args:
        configs: of the runs; the engine is that of the first.
        progress: bars of each run on stderr; where they are trained elsewhere, a line for each.
    """
    engine, begun = configs[0], time.monotonic()
    if engine.alone:
        return [str(self_train(c, resume=True, progress=progress).path) for c in configs]
    tasks = [replace(absolute(c), engine="local", ray_address="", processes=0) for c in configs]
    gpus = gpus_of(engine.device)
    results = run_cells(engine, train_quietly, tasks, gpus=gpus)
    for done, (_, path) in enumerate(results, 1):
        if progress:
            tell_progress(done, len(tasks), path, begun)
    return [config.path for config in configs]


def train_quietly(config: Config) -> str:
    """Trains one run without a word and returns its folder."""
    return str(self_train(config, resume=True, progress=False).path)
