"""Models trained by optimiser steps; the contrastive one learns without labels beforehand."""

from __future__ import annotations

import torch
from torch import Tensor

from ...config.learning import LearningConfig
from ..batches import TrainingTargets
from ..dataset import Dataset
from ..diagnostics import contrast_probe
from ..ensemble import Ensemble
from ..fit import OnStep, fit, pretrain, without_labels
from ..initialisation import fresh_ensemble, untrained
from ..steps import FitConfig


class Stepped:
    """A student trained by `semi.training.fit`; nothing is learned without labels."""

    by_steps = True

    def start(
        self, dataset: Dataset, config: LearningConfig, on_step: OnStep | None = None
    ) -> dict[str, Tensor]:
        """Returns nothing: no kind but contrastive has terms that need no label."""
        return {}

    def view(self, dataset: Dataset, learned: dict[str, Tensor]) -> Dataset:
        """Returns the dataset as it is."""
        return dataset

    def fit(
        self, seen: Dataset, targets: TrainingTargets, config: LearningConfig,
        learned: dict[str, Tensor], on_step: OnStep | None = None,
    ) -> Ensemble:  # fmt: skip
        """Returns the members after the steps of a round."""
        fresh = fresh_ensemble(seen, config, learned)
        return fit(fresh, targets, FitConfig.of(config), seed=config.seed, on_step=on_step)

    def whole(self, ensemble: Ensemble, dataset: Dataset, learned: dict[str, Tensor]) -> Ensemble:
        """Returns the members as they are."""
        return ensemble


class ContrastiveStudent(Stepped):
    """The contrastive student: its encoders learn from gold and pool before any label."""

    def start(
        self, dataset: Dataset, config: LearningConfig, on_step: OnStep | None = None
    ) -> dict[str, Tensor]:
        """Returns the tensors (M, ...) learned by contrast; nothing where there is none."""
        contrast = config.contrast
        if not (contrast.pretrain_steps > 0 and contrast.pairs(len(dataset.dims))):
            return {}
        fresh = untrained(dataset, config, config.train.members)
        probe = contrast_probe(  # on inputs of dev and test rows; it reads no labels
            fresh, dataset.values, dataset.present, torch.cat([dataset.dev, dataset.test]),
            config.noise, contrast, seed=config.seed,
        )  # fmt: skip
        rows = torch.cat([dataset.gold, dataset.pool])
        done = pretrain(
            fresh, without_labels(dataset.values, dataset.present, rows, fresh.classes),
            FitConfig.of(config), seed=config.seed, on_step=on_step, probe=probe,
        )  # fmt: skip
        return {k: v for k, v in done.params.items() if not torch.equal(v, fresh.params[k])}
