"""Settings of the task (`task`): what a row's answer is, and which settings fit that."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from models.fusion import ContrastConfig, FusionConfig
from pseudo_label import SelectionConfig

from ..data.config import DataConfig
from .training import RoundsConfig, TrainConfig

TASK_KINDS = ("single", "multi_label", "affect", "joint", "joint_multi_label")
AFFECT_ROWS = 64  # CCC over fewer rows than this is biased low
MULTI_METRICS = ("macro_f1", "micro_f1", "sample_f1")
CLASSES = ("single", "multi_label", "joint", "joint_multi_label")
KNOWN = {  # tasks of a kind of model; others: all
    "discriminant": CLASSES,
    "logistic": CLASSES,
    "ridge": ("affect",),
    "contrastive_residual": ("single",),
}
METRICS_OF = {  # of the gate, by task; others: all but those of these
    "affect": ("ccc",),
    "multi_label": MULTI_METRICS,
    "joint_multi_label": (*MULTI_METRICS, "ccc"),
}


@dataclass
class TaskConfig:
    """What is predicted of an utterance."""

    kind: str = "single"
    """single | multi_label (any number of classes) | affect (valence, arousal) | joint.

    joint is single and affect together, joint_multi_label is multi_label and affect.
    """
    class_weight: float = 1.0
    """joint: weight of the classification losses."""
    affect_weight: float = 1.0
    """affect, joint: weight of the regression loss 1 - CCC + mse_weight MSE (scaled targets)."""
    mse_weight: float = field(default=0.1, metadata={"constant": True})
    """affect, joint: weight of the squared error beside 1 - CCC; it fixes the scale early."""

    def __post_init__(self) -> None:
        """Raises ValueError naming the first field out of range."""
        if self.kind not in TASK_KINDS:
            raise ValueError(f"kind must be one of {', '.join(TASK_KINDS)}, got '{self.kind}'")
        for name in ("class_weight", "affect_weight", "mse_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be >= 0, got {getattr(self, name)}")
        if self.affect and self.affect_weight == 0:
            raise ValueError(f"affect_weight must be above 0 where kind is {self.kind}, got 0")

    @property
    def affect(self) -> bool:
        """True where valence and arousal are predicted."""
        return self.kind in ("affect", "joint", "joint_multi_label")

    @property
    def multi(self) -> bool:
        """True where a row may have several labels."""
        return self.kind in ("multi_label", "joint_multi_label")

    @property
    def classes_weight(self) -> float:
        """Weight of the classification losses of this kind of task."""
        single = {"single": 1.0, "multi_label": 1.0, "affect": 0.0}
        return single.get(self.kind, self.class_weight)


@dataclass
class TaughtTask(TaskConfig):
    """A student's task: the first half of a batch is given labels, the second a teacher's word.

    Made by `semi distill`, never read from settings.
    """

    temperature: float = 1.0  # both sides are divided by it, the loss multiplied by its square
    match: str = "kl"  # kl | mse: of probabilities, or of logits


Problems = list[tuple[str, str]]  # (key, sentence)


def task_problems(task: TaskConfig, sections: dict[str, Any]) -> Problems:
    """Returns (key, sentence) of settings that do not fit the task; sections may be missing."""
    checks = (
        (_data_problems, ("data",)),
        (_contrast_problems, ("contrast",)),
        (_model_problems, ("model",)),
        (_train_problems, ("train",)),
        (_metric_problems, ("rounds",)),
        (_round_problems, ("rounds", "select", "train")),
    )
    found: Problems = []
    for check, names in checks:
        parts: list[Any] = [sections.get(name) for name in names]
        if all(part is not None for part in parts):
            found += check(task, *parts)
    return found


def _data_problems(task: TaskConfig, data: DataConfig) -> Problems:
    if task.kind == "affect" and data.reviews:
        sentence = (
            "people's reviews name classes, which task.kind affect has not; leave them out, or set "
            "task.kind=joint"
        )
        return [("data.reviews", sentence)]
    if not task.multi or data.ties == "votes":
        return []
    return [(
        "data.ties",
        "must be votes for task.kind multi_label: a tie is a row of several labels, got "
        f"{data.ties}",
    )]  # fmt: skip


def _contrast_problems(task: TaskConfig, contrast: ContrastConfig) -> Problems:
    if task.kind != "affect" or contrast.intra + contrast.inter == 0:
        return []
    sentence = "contrast by class (intra, inter) needs classes, which task.kind affect has not"
    return [("contrast.intra", sentence)]


def _model_problems(task: TaskConfig, model: FusionConfig) -> Problems:
    if task.affect or not model.affect:
        return []
    sentence = f"valence and arousal are learned by task.kind affect or joint, not by {task.kind}"
    return [("model.affect", sentence)]


def _train_problems(task: TaskConfig, train: TrainConfig) -> Problems:
    found: Problems = []
    if task.kind not in ("single", "joint") and train.loss != "cross_entropy":
        found.append((
            "train.loss",
            f"task.kind {task.kind} has one loss of its own (multi_label: binary cross-entropy on "
            f"logits; affect: CCC); leave cross_entropy, got {train.loss}",
        ))  # fmt: skip
    shifts = task.multi and train.imbalance == "logit_adjust"
    if task.kind == "affect" and train.imbalance != "none":
        sentence = f"must be none for affect, which has no classes, got {train.imbalance}"
        found.append(("train.imbalance", sentence))
    if shifts:
        sentence = (
            "logit_adjust shifts a softmax, which multi_label has not; set oversample or none"
        )
        found.append(("train.imbalance", sentence))
    rows = math.ceil(AFFECT_ROWS * train.folds / (train.folds - 1))
    if task.affect and train.batch < rows:
        found.append((
            "train.batch",
            f"must be at least {rows} for task.kind {task.kind}, so that {AFFECT_ROWS} rows are "
            f"left without the held-out fold (CCC over fewer is biased), got {train.batch}",
        ))  # fmt: skip
    return found


def _metric_problems(task: TaskConfig, rounds: RoundsConfig) -> Problems:
    metric, kind = rounds.metric, task.kind
    if kind == "single" and metric in ("ccc", "micro_f1", "sample_f1"):
        return [("rounds.metric", f"{metric} is no metric of task.kind single")]
    if kind == "joint" and metric == "sample_f1":
        return [("rounds.metric", "sample_f1 is a metric of task.kind multi_label")]
    fits = METRICS_OF.get(kind)
    if fits is None or metric in fits:
        return []
    return [("rounds.metric", f"must be {' or '.join(fits)} for task.kind {kind}, got {metric}")]


def _round_problems(
    task: TaskConfig, rounds: RoundsConfig, select: SelectionConfig, train: TrainConfig
) -> Problems:
    if not rounds.max_rounds:
        return []
    found: Problems = []
    if task.multi and select.rule != "threshold":
        found.append((
            "select.rule",
            "task.kind multi_label takes the rows whose every class is decided at "
            f"select.threshold: set select.rule=threshold, got {select.rule} "
            "(or rounds.max_rounds=0)",
        ))  # fmt: skip
    if task.kind == "affect" and select.rule not in ("spread", "ups"):  # ups: its name before
        found.append((
            "select.rule",
            "task.kind affect takes the rows on whose value the members differ least: set "
            f"select.rule=spread, got {select.rule} (or rounds.max_rounds=0)",
        ))  # fmt: skip
    if task.kind != "affect" and select.rule == "spread":
        found.append((
            "select.rule",
            "spread ranks valence and arousal, which task.kind affect alone selects by; task.kind "
            f"is {task.kind}",
        ))  # fmt: skip
    if task.kind == "affect" and train.members < 2:
        found.append((
            "train.members",
            "must be at least 2 for rounds of task.kind affect: the spread of the members is "
            f"what they go by, got {train.members}",
        ))  # fmt: skip
    return found
