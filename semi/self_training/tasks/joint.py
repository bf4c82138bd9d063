"""Classes, and valence and arousal beside them: the classes judge unless `ccc` is asked for."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...config.learning import LearningConfig
from ...data.manifest import Manifest
from ...training.dataset import Dataset
from ...training.teacher import TeacherOutputs
from ..state import PseudoLabels, RoundState
from .affect import affect_columns, affect_metrics, judge_ccc, with_affect
from .multi_label import MultiLabel
from .single import Single
from .taught_rows import TaughtRows


class Joint:
    """A task of classes with valence and arousal beside it."""

    def __init__(self, kind: str, classes: Single | MultiLabel) -> None:
        self.kind, self.classes = kind, classes
        self.one_class = classes.one_class

    def dataset(self, dataset: Dataset, manifest: Manifest) -> Dataset:
        """Returns the dataset with the targets of both."""
        return with_affect(self.classes.dataset(dataset, manifest), manifest, self.kind)

    def judge(
        self, dataset: Dataset, outputs: TeacherOutputs, config: LearningConfig
    ) -> tuple[float, float]:
        """Returns the gate's metric on gold out-of-fold rows and its standard error."""
        if config.rounds.metric == "ccc":
            return judge_ccc(dataset, outputs)
        return self.classes.judge(dataset, outputs, config)

    def select(
        self, dataset: Dataset, state: RoundState, config: LearningConfig, rate: float, number: int
    ) -> tuple[PseudoLabels, Tensor]:
        """Returns the pseudo-labels of the classes; valence and arousal come with their rows."""
        return self.classes.select(dataset, state, config, rate, number)

    def measured(self, dataset: Dataset, rows: Tensor, probs: Any, affect: Any) -> dict[str, Any]:
        """Returns the metrics of both on gold rows (R,)."""
        metrics = self.classes.measured(dataset, rows, probs, affect)
        values = affect_metrics(dataset, rows, affect)
        both = metrics["intervals"] | values.get("intervals", {})
        return metrics | values | {"intervals": both}

    def facts(self, dataset: Dataset, pseudo_labels: PseudoLabels) -> dict[str, Any]:
        """Returns what was added, by class, and how much of it was right where gold was hidden."""
        return self.classes.facts(dataset, pseudo_labels)

    def columns(self, taught: TaughtRows) -> dict[str, Any]:
        """Returns the columns of the ledger that say what the teacher saw in each row."""
        classes = self.classes.columns(taught)
        first = {name: classes.pop(name) for name in ("label", "threshold", "confidence")}
        return first | affect_columns(taught) | classes
