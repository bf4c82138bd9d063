"""Datasets and settings of each kind of task, for tests."""

import dataclasses

import torch
from tiny_dataset import tiny_config

from models.fusion import ContrastConfig
from noise import NoiseConfig
from semi.config.task import TaskConfig
from semi.config.training import RoundsConfig, TrainConfig
from semi.training.dataset import Dataset

QUIET = NoiseConfig(steps=0, impulse=0, dim_mask=0, modality_dropout=0)
PLAIN = ContrastConfig(
    modality=False, rest=False, noise=False, weight=0, weight_end=0, pretrain_steps=0
)


def with_affect(dataset: Dataset, noise=0.3) -> Dataset:
    """Returns the dataset whose classes differ in valence and arousal, on a scale of 1 to 5."""
    generator = torch.Generator().manual_seed(1)
    value = torch.stack([dataset.label + 1.0, 5 - 0.8 * dataset.label], 1)
    value = value + noise * torch.randn(value.shape, generator=generator)
    value[::13] = torch.nan
    return dataclasses.replace(dataset, affect=value)


def with_several(dataset: Dataset) -> Dataset:
    """Returns the dataset in which every third row is also of the next class."""
    several = torch.nn.functional.one_hot(dataset.label, len(dataset.classes)).float()
    several[::3] = (several[::3] + several[::3].roll(1, 1)).clamp(max=1)
    target = torch.zeros_like(several)
    target[dataset.gold] = several[dataset.gold]
    return dataclasses.replace(dataset, target=target, multi=several)


def settings(kind, *, rounds=0, steps=120, **train):
    metric = {"affect": "ccc", "joint": "ccc"}.get(kind, "macro_f1")
    config = tiny_config(
        noise=QUIET,
        contrast=PLAIN,
        train=TrainConfig(steps=steps, members=2, folds=3, imbalance="none", **train),
        rounds=RoundsConfig(max_rounds=rounds, metric=metric),
    )
    config.task = TaskConfig(kind)
    return config
