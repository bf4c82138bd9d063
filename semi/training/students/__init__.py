"""How each kind of model learns: STUDENTS maps `model.kind` to its student, one kind a row.

A student may learn something without labels (`start`), sees the rows of a dataset its own way
(`view`), fits fresh members on the targets of a round (`fit`), and gives them back for values of
full width (`whole`). To add one, write its file and put it here.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from models.fusion.config import KINDS

from ...config.learning import LearningConfig
from ..dataset import Dataset
from ..ensemble import Ensemble
from ..fit import OnStep
from ..targets import TrainingTargets
from .closed_form import ClosedForm
from .contrastive_residual import ContrastiveResidualStudent
from .discriminant import fit_discriminant
from .logistic import fit_logistic
from .ridge import fit_ridge, no_classes
from .several_labels import label_by_label
from .stepped import ContrastiveStudent, Stepped


class Student(Protocol):
    """What the rounds ask of a kind of model."""

    by_steps: bool  # False: solved at once, nothing of it is left to chance

    def start(
        self, dataset: Dataset, config: LearningConfig, on_step: OnStep | None = None
    ) -> dict[str, Tensor]:
        """Returns the tensors learned without labels, for all rounds."""
        ...

    def view(self, dataset: Dataset, learned: dict[str, Tensor]) -> Dataset:
        """Returns the dataset as the models see it."""
        ...

    def fit(
        self, seen: Dataset, targets: TrainingTargets, config: LearningConfig,
        learned: dict[str, Tensor], on_step: OnStep | None = None,
    ) -> Ensemble:  # fmt: skip
        """Returns fresh members trained on the targets; `seen` is what `view` returned."""
        ...

    def whole(self, ensemble: Ensemble, dataset: Dataset, learned: dict[str, Tensor]) -> Ensemble:
        """Returns trained members for values of full width."""
        ...


SOLVERS = {"discriminant": fit_discriminant, "logistic": fit_logistic}
"""The solvers of linear students of classes, by `model.kind` and `model.linear`."""
STUDENTS: dict[str, Student] = {
    **{kind: Stepped() for kind in KINDS},
    "contrastive": ContrastiveStudent(),
    "contrastive_residual": ContrastiveResidualStudent(SOLVERS),
    **{
        kind: ClosedForm(solve, label_by_label(solve), fit_ridge) for kind, solve in SOLVERS.items()
    },
    "ridge": ClosedForm(no_classes, no_classes, fit_ridge),
}


def learned_start(
    dataset: Dataset, config: LearningConfig, on_step: OnStep | None = None
) -> dict[str, Tensor]:
    """Returns what the student of `config.model.kind` learns without any label."""
    return STUDENTS[config.model.kind].start(dataset, config, on_step)
