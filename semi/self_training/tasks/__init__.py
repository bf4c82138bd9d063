"""What a row's answer is: TASKS maps `task.kind` to its task, one kind a row.

A task says what is learned from gold rows (`dataset`), how they judge (`judge`), what a round takes
from the pool (`select`), and what is written down (`measured`, `facts`, `columns`). To add one,
write its file and put it here.
"""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from ...config.learning import LearningConfig
from ...data.manifest import Manifest
from ...training.dataset import Dataset
from ...training.teacher import TeacherOutputs
from ..state import PseudoLabels, RoundState
from .affect import Affect
from .joint import Joint
from .multi_label import MultiLabel
from .single import Single
from .taught_rows import TaughtRows


class Task(Protocol):
    """What the rounds ask of a kind of task."""

    one_class: bool  # a row has one class: information, agreement and reliability make sense

    def dataset(self, dataset: Dataset, manifest: Manifest) -> Dataset:
        """Returns the dataset with the targets that the task needs."""
        ...

    def judge(
        self, dataset: Dataset, outputs: TeacherOutputs, config: LearningConfig
    ) -> tuple[float, float]:
        """Returns the gate's metric on gold out-of-fold rows and its standard error."""
        ...

    def select(
        self, dataset: Dataset, state: RoundState, config: LearningConfig, rate: float, number: int
    ) -> tuple[PseudoLabels, Tensor]:
        """Returns what each chain takes from the pool, and the targets (G, P, C) of all its rows.

        Args:
            dataset: the data.
            state: the round that teaches.
            config: the settings; of the selection and the training.
            rate: share of the pool asked for.
            number: of the round to come.
        """
        ...

    def measured(self, dataset: Dataset, rows: Tensor, probs: Any, affect: Any) -> dict[str, Any]:
        """Returns the metrics of gold rows (R,), from (R, C) probabilities and (R, 2) values."""
        ...

    def facts(self, dataset: Dataset, pseudo_labels: PseudoLabels) -> dict[str, Any]:
        """Returns what a round added, and how much of it hidden gold confirms."""
        ...

    def columns(self, taught: TaughtRows) -> dict[str, Any]:
        """Returns the columns of the ledger that say what the teacher saw in each row."""
        ...


TASKS: dict[str, Task] = {
    "single": Single(),
    "multi_label": MultiLabel(),
    "affect": Affect(),
    "joint": Joint("joint", Single()),
    "joint_multi_label": Joint("joint_multi_label", MultiLabel()),
}
