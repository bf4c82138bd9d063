"""A made-up dataset of two views and three classes that trains in a second."""

import numpy as np
import torch

from models.fusion import ContrastConfig, FusionConfig
from semi.config.learning import LearningConfig
from semi.config.training import RoundsConfig, TrainConfig
from semi.training.dataset import Dataset

CLASSES = ["calm", "glad", "sad"]


def tiny_dataset(*, gold=24, pool=60, test=30, views=("speech", "text"), seed=0, spread=1.0):
    """Returns Gaussian classes; rows are gold, then pool, then test; ten speakers."""
    rng = np.random.default_rng(seed)
    n = gold + pool + test
    label = np.arange(n) % 3
    values = {}
    for view in views:
        centre = rng.normal(size=(3, 6))
        x = centre[label] + spread * rng.normal(size=(n, 6))
        values[view] = torch.from_numpy(x.astype(np.float32))
    label = torch.from_numpy(label)
    target = torch.zeros(n, 3)
    target[:gold] = torch.nn.functional.one_hot(label[:gold], 3).float()
    rows = torch.arange(n)
    return Dataset(
        ids=np.array([f"u{i:04d}" for i in range(n)]),
        values=values,
        present=torch.ones(n, len(views), dtype=torch.bool),
        target=target,
        label=label,
        gold=rows[:gold],
        pool=rows[gold : gold + pool],
        dev=rows[:0],
        test=rows[gold + pool :],
        fold=torch.arange(gold) // 3 % 2,
        group=np.array([f"s{i // 3 % 10}" for i in range(n)]),
        classes=list(CLASSES),
    )


def tiny_learning(*, steps=5, members=2, max_rounds=1, **select):
    """Returns settings small enough for a test."""
    learning = LearningConfig(
        recipe="none",
        model=FusionConfig(hidden=8, projection=4),
        contrast=ContrastConfig(weight=0.0, weight_end=0.0, pretrain_steps=0),
        train=TrainConfig(folds=2, members=members, steps=steps, batch=16),
        rounds=RoundsConfig(max_rounds=max_rounds),
    )
    for name, value in select.items():
        setattr(learning.select, name, value)
    return learning
