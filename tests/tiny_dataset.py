"""A small two-view dataset made of random numbers: for invariants, never for quality."""

import numpy as np
import torch

from models.fusion import ContrastConfig, FusionConfig
from pseudo_label import SelectionConfig
from semi.config.learning import LearningConfig
from semi.config.schema import Config
from semi.config.training import RoundsConfig, TrainConfig
from semi.training.dataset import Dataset


def tiny_dataset(seed=0, gold=36, pool=60, test=30, classes=3, folds=3, spread=1.0, views=2):
    """Returns a dataset whose classes are `spread` apart in every view; 6 speakers."""
    rng = np.random.default_rng(seed)
    n = gold + pool + test
    label = np.arange(n) % classes
    speaker = np.array([f"s{(i // classes) % 6}" for i in range(n)])
    values = {}
    for name, width in (("speech", 12), ("text", 8))[:views]:
        centre = spread * rng.normal(size=(classes, width))
        values[name] = torch.from_numpy(
            (centre[label] + rng.normal(size=(n, width))).astype(np.float32)
        )
    rows = torch.arange(n)
    target = torch.zeros(n, classes)
    target[:gold] = torch.nn.functional.one_hot(torch.from_numpy(label[:gold]), classes).float()
    return Dataset(
        ids=np.array([f"u{i:04d}" for i in range(n)]),
        values=values,
        present=torch.ones(n, len(values), dtype=torch.bool),
        target=target,
        label=torch.from_numpy(label),
        gold=rows[:gold],
        pool=rows[gold : gold + pool],
        dev=rows[:0],
        test=rows[gold + pool :],
        fold=torch.arange(gold) // classes % folds,
        group=speaker,
        classes=[f"c{i}" for i in range(classes)],
    )


def tiny_config(**sections):
    """Returns what the rounds read, small enough for a test; `sections` replace single ones."""
    return LearningConfig(**{**_small(), **sections})


def tiny_run_config(**sections):
    """Returns the same within all settings of a run: for what reads `distill`, too."""
    return Config(**{**_small(), **sections})


def _small():
    return {
        "recipe": "none",
        "model": FusionConfig(hidden=16, projection=8, dropout=0.1),
        "train": TrainConfig(steps=10, batch=16, members=2, folds=3),
        "contrast": ContrastConfig(pretrain_steps=4, pretrain_batch=32),
        "select": SelectionConfig(coverage=[0.5, 0.7]),
        "rounds": RoundsConfig(max_rounds=2),
    }
