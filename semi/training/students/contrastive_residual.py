"""The contrastive student that begins at a solution in closed form and is trained on from there."""

from __future__ import annotations

from torch import Tensor

from ...config.learning import LearningConfig
from ..dataset import Dataset
from ..ensemble import Ensemble
from ..fit import OnStep, fit
from ..initialisation import fresh_ensemble
from ..steps import FitConfig
from ..targets import TrainingTargets
from .closed_form import ClosedForm, fit_linear


class ContrastiveResidualStudent(ClosedForm):
    """Solves the linear part first; the steps then teach all of it but the axes."""

    by_steps = True

    def fit(
        self, seen: Dataset, targets: TrainingTargets, config: LearningConfig,
        learned: dict[str, Tensor], on_step: OnStep | None = None,
    ) -> Ensemble:  # fmt: skip
        """Returns the members after the steps of a round."""
        fresh = fresh_ensemble(seen, config, {})
        solved = fit_linear(fresh, targets, config.train, self.solve, seed=config.seed)
        return fit(solved, targets, FitConfig.of(config), seed=config.seed, on_step=on_step)
