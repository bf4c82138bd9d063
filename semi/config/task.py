"""Settings of the task (`task`): what a row's answer is, and which settings fit that."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

KINDS = ("single", "multi_label", "affect", "joint", "joint_multi_label")
AFFECT_ROWS = 64  # CCC over fewer rows than this is biased low
MULTI_METRICS = ("macro_f1", "micro_f1", "sample_f1")


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
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got '{self.kind}'")
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


def task_problems(task: TaskConfig, sections: dict[str, Any]) -> list[tuple[str, str]]:
    """Returns (key, sentence) of settings that do not fit the task; sections may be missing."""
    found: list[tuple[str, str]] = []
    kind = task.kind

    def need(key: str, ok: bool, sentence: str) -> None:
        if not ok:
            found.append((key, sentence))

    data = sections.get("data")
    if data is not None:
        need(
            "data.ties",
            not task.multi or data.ties == "votes",
            "must be votes for task.kind multi_label: a tie is a row of several labels, got "
            f"{data.ties}",
        )
    contrast = sections.get("contrast")
    if contrast is not None:
        need(
            "contrast.intra",
            kind != "affect" or contrast.intra + contrast.inter == 0,
            "contrast by class (intra, inter) needs classes, which task.kind affect has not",
        )
    train, rounds, select = (sections.get(k) for k in ("train", "rounds", "select"))
    model = sections.get("model")
    if model is not None:
        need(
            "model.affect",
            not model.affect or task.affect,
            f"valence and arousal are learned by task.kind affect or joint, not by {kind}",
        )
    if train is not None and kind != "single":
        need(
            "train.loss",
            kind == "joint" or train.loss == "cross_entropy",
            f"task.kind {kind} has one loss of its own (multi_label: binary cross-entropy on "
            f"logits; affect: CCC); leave cross_entropy, got {train.loss}",
        )
        need(
            "train.imbalance",
            task.kind == "joint"
            or train.imbalance == "none"
            or (task.multi and train.imbalance != "logit_adjust"),
            "must be none for affect; logit_adjust shifts a softmax, which multi_label has not; "
            f"got {train.imbalance} with task.kind {kind}",
        )
    if train is not None and task.affect:
        rows = math.ceil(AFFECT_ROWS * train.folds / (train.folds - 1))
        need(
            "train.batch",
            train.batch >= rows,
            f"must be at least {rows} for task.kind {kind}, so that {AFFECT_ROWS} rows are left "
            f"without the held-out fold (CCC over fewer is biased), got {train.batch}",
        )
    if rounds is not None:
        fits = {"affect": ("ccc",), "multi_label": MULTI_METRICS}.get(kind)
        fits = (*MULTI_METRICS, "ccc") if kind == "joint_multi_label" else fits
        if kind == "joint":
            need(
                "rounds.metric",
                rounds.metric != "sample_f1",
                "sample_f1 is a metric of task.kind multi_label",
            )
        elif fits is None:
            need(
                "rounds.metric",
                rounds.metric not in ("ccc", "micro_f1", "sample_f1"),
                f"{rounds.metric} is no metric of task.kind single",
            )
        else:
            need(
                "rounds.metric",
                rounds.metric in fits,
                f"must be {' or '.join(fits)} for task.kind {kind}, got {rounds.metric}",
            )
    if select is not None and rounds is not None and rounds.max_rounds:
        if task.multi:
            need(
                "select.rule",
                select.rule == "threshold",
                "task.kind multi_label takes the rows whose every class is decided at "
                f"select.threshold: set select.rule=threshold, got {select.rule} "
                "(or rounds.max_rounds=0)",
            )
        if kind == "affect":
            need(
                "select.rule",
                select.rule == "ups",
                "task.kind affect takes the rows on whose value the members differ least: set "
                f"select.rule=ups, got {select.rule} (or rounds.max_rounds=0)",
            )
    if task.kind == "affect" and train is not None and rounds is not None and rounds.max_rounds:
        need(
            "train.members",
            train.members >= 2,
            "must be at least 2 for rounds of task.kind affect: the spread of the members is "
            f"what they go by, got {train.members}",
        )
    return found
