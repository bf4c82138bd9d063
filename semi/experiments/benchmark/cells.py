"""A benchmark's cells: one draw of labels on one outer fold, and the lines its arms come to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from ...config.learning import LearningConfig
from ...data.wording import counted
from ...evaluation.intervals import metrics_from_confusion
from ...evaluation.metrics import confusion
from ...threads import limited_threads
from ...training.dataset import Dataset
from .arms import (
    ArmPredictions,
    Starts,
    placebo_arm,
    rounds_arm,
    shuffled_arm,
    sklearn_arm,
    supervised_arm,
)
from .config import USB, BenchConfig, budget_name, learning_of
from .corpus import BenchCorpus
from .data import Outer, dataset_of, outer
from .oracle import oracle_arm
from .results import ALL_LABELS, KEY, coded
from .usb import usb_arm

Arm = Callable[[Dataset, Starts], ArmPredictions]
LearningArm = Callable[[Dataset, LearningConfig, Starts], ArmPredictions]


@dataclass
class Cell:
    """One dataset and the arms to run on it."""

    dataset: str
    budget: float | None  # None = all labels, for the oracle
    seed: int
    draw: int
    fold: int

    @property
    def key(self) -> tuple[str, ...]:
        """The first words of the run's line."""
        name = ALL_LABELS if self.budget is None else budget_name(self.budget)
        return (self.dataset, name, str(self.seed), str(self.draw), str(self.fold))


def arms_of(config: BenchConfig, cell: Cell) -> dict[str, Arm]:
    """Returns the arms of a dataset: name -> function, which reads its settings when it runs."""
    seed = config.seed + cell.seed

    @cache
    def learning(*overrides: str) -> LearningConfig:
        return learning_of(config, seed, overrides)

    def ours(run: LearningArm, *overrides: str) -> Arm:
        return lambda dataset, starts: run(dataset, learning(*overrides), starts)

    def theirs(kind: str) -> Arm:
        if kind in USB:
            return lambda dataset, starts: usb_arm(dataset, kind, seed)
        return lambda dataset, starts: sklearn_arm(dataset, kind)

    if cell.budget is None:
        if "oracle" not in config.controls:
            return {}
        arms = {"oracle": ours(oracle_arm)}
        return arms | ({"logistic_oracle": theirs("logistic")} if config.baselines else {})
    arms = {"supervised": ours(supervised_arm)}
    if "placebo" in config.controls:
        arms["placebo"] = ours(placebo_arm)
    if "shuffled" in config.controls:
        arms["shuffled"] = ours(shuffled_arm)
    arms |= {rule: ours(rounds_arm, f"select.rule={rule}") for rule in config.rules}
    arms |= {name: ours(rounds_arm, *overrides) for name, overrides in config.variants.items()}
    if config.baselines:
        arms |= {kind: theirs(kind) for kind in ("logistic", *config.baselines)}
    return arms


@dataclass
class CellRunner:
    """Runs the arms of cells that are missing; in another process as well."""

    config: BenchConfig
    corpora: dict[str, BenchCorpus]
    splits: dict[str, list[np.ndarray]]  # test rows of each outer fold, by corpus
    known: dict[tuple[str, int], Outer] = field(default_factory=dict)  # scaled once and kept

    def whole(self, task: tuple[Cell, list[str]]) -> list[dict[str, Any] | str]:
        """Returns what `lines` yields, on the threads of the settings."""
        with limited_threads(self.config.threads):
            return list(self.lines(task))

    def lines(self, task: tuple[Cell, list[str]]) -> Iterator[dict[str, Any] | str]:
        """Yields the line of each arm of a cell, or why there is no dataset.

        Args:
            task: the cell, and the arms to run.
        """
        cell, missing = task
        config, corpus, split = self.config, self.corpora[cell.dataset], self.outer(cell)
        dataset = dataset_of(
            corpus, split, cell.budget, draw=cell.draw, folds=config.train.folds,
            seed=config.seed + cell.seed, device=config.device,
        )  # fmt: skip
        if dataset is None:
            labelled = int((corpus.label[split.train] >= 0).sum())
            yield (
                f"{cell.dataset}: budget {cell.key[1]} is skipped; an outer fold trains on "
                f"{counted(labelled, 'labelled row')}, and that leaves none to hide (two of each "
                "class stay labelled), or too few to learn two classes"
            )
            return
        arms, starts = arms_of(config, cell), Starts()
        for arm in missing:
            yield line_of(cell, arm, arms[arm](dataset, starts), dataset)

    def outer(self, cell: Cell) -> Outer:
        """Returns the outer split of a cell."""
        key = (cell.dataset, cell.fold)
        if key not in self.known:
            split = self.splits[cell.dataset][cell.fold]
            self.known[key] = outer(self.corpora[cell.dataset], split, cell.fold)
        return self.known[key]


def line_of(cell: Cell, arm: str, predictions: ArmPredictions, dataset: Dataset) -> dict[str, Any]:
    """Returns the line of one arm of a cell: its scores on the test rows, and its facts."""
    label = dataset.label[dataset.test].cpu().numpy()
    table = confusion(label, predictions.predicted, len(dataset.classes))
    scores = {k: round(float(v), 6) for k, v in metrics_from_confusion(table).items()}
    facts = {k: round(v, 6) if isinstance(v, float) else v for k, v in predictions.facts.items()}
    rows = {
        "gold_rows": len(dataset.gold),
        "pool_rows": len(dataset.pool),
        "test_rows": len(dataset.test),
    }
    given = dict(zip(KEY, (*cell.key, arm), strict=True))
    return given | rows | scores | facts | {"answers": coded(predictions.predicted)}
