"""The contrastive student that begins at a solution in closed form and is trained on from there."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ...config.learning import LearningConfig
from ..dataset import Dataset
from ..ensemble import Ensemble
from ..fit import OnStep, fit
from ..initialisation import fresh_ensemble
from ..out_of_fold import losses_out_of_fold
from ..steps import FitConfig
from ..targets import TrainingTargets
from .closed_form import ClosedForm, LinearTargets, fit_linear

CHECK_EVERY = 4  # steps
Solve = Callable[[LinearTargets], dict[str, Tensor]]


class ContrastiveResidualStudent(ClosedForm):
    """Solves the linear part; steps teach all of it but the axes, and stay if gold says so."""

    by_steps = True

    def __init__(self, solvers: dict[str, Solve]) -> None:
        """Takes the solver of each value of `model.linear`."""
        self.solvers = solvers

    def fit(
        self, seen: Dataset, targets: TrainingTargets, config: LearningConfig,
        learned: dict[str, Tensor], on_step: OnStep | None = None,
    ) -> Ensemble:  # fmt: skip
        """Returns the members after the steps of a round, or as solved.

        Gold rows tell which, each by the chain that never saw it. They are asked every CHECK_EVERY
        steps, and the training ends when they are no less surprised than when last asked: nearly
        all steps that gold dislikes at the end it dislikes at once. What was learned stays if it
        spares them more than a standard error: on five corpora steps that were kept for any gain
        lost 0.3 points of macro-F1 in mean.
        """
        fresh = fresh_ensemble(seen, config, {})
        solve = self.solvers[config.model.linear]
        solved = fit_linear(fresh, targets, config.train, solve, seed=config.seed)
        found = _Best(seen, solved, config.train.steps)
        fit(solved, targets, FitConfig.of(config), seed=config.seed, on_step=on_step,
            stop=found.no_better)  # fmt: skip
        return found.settled()


class _Best:
    """The members of a fit by which gold, out-of-fold, is least surprised."""

    def __init__(self, seen: Dataset, solved: Ensemble, steps: int) -> None:
        self.seen, self.steps = seen, steps
        self.solved = self.members = solved
        self.start = self.losses = losses_out_of_fold(seen, solved)  # (n,)

    def no_better(self, step: int, params: dict[str, Tensor]) -> bool:
        """Says, every CHECK_EVERY steps and at the end, whether gold is no less surprised."""
        if step % CHECK_EVERY and step < self.steps:
            return False
        now = self.solved.with_params({k: v.clone() for k, v in params.items()})
        losses = losses_out_of_fold(self.seen, now)
        if losses.mean() >= self.losses.mean():
            return True
        self.members, self.losses = now, losses
        return False

    def settled(self) -> Ensemble:
        """Returns the members, or the solved ones where gold gains less than a standard error."""
        gain = self.start - self.losses
        clear = gain.mean() > gain.std() / len(gain) ** 0.5  # of a single row: no
        return self.members if clear else self.solved
