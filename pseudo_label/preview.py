"""What a selection would add and how precise that should be, before anything is added."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch

from .bounds import lower_bound
from .pool import NEVER, Gold, Pool, Selection, at_label


@dataclass
class ClassPreview:
    """One class of a preview."""

    name: str
    chosen: int  # pool rows
    expected: float  # mean calibrated probability of their label; nan without rows
    threshold: float | None  # lowest confidence taken; None = no row
    gold_rows: int  # out-of-fold gold rows predicted as the class at or above it
    gold_precision: float  # share of them that are right; nan without rows
    gold_lower: float  # one-sided 95 % Clopper-Pearson bound of that; 0 without rows


@dataclass
class Preview:
    """A selection in numbers."""

    rows: int
    chosen: int
    coverage: float
    mass: float  # sum of weights
    expected: float  # mean calibrated probability of the chosen labels; nan without rows
    classes: list[ClassPreview]
    reasons: dict[str, int]
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Returns a JSON-able dict."""
        return asdict(self)


def preview(selection: Selection, pool: Pool, alpha: float = 0.05) -> Preview:
    """Returns coverage and two estimates of precision, per class and in all.

    `expected` trusts the calibration, `gold_precision` counts out-of-fold gold rows that the same
    thresholds would take. Both assume that pool rows are like gold rows; new speakers are harder.
    """
    probs = pool.probs if selection.probs is None else selection.probs
    count = probs.shape[1]
    names = pool.classes or [str(c) for c in range(count)]
    sure = at_label(probs, selection.label)
    classes = []
    for c, name in enumerate(names):
        of_class = selection.chosen & (selection.label == c)
        level = float(selection.threshold[c])
        rows, right = _gold_above(selection.gold, c, level)
        low = lower_bound(torch.tensor([right]), torch.tensor([max(rows, 1)]), alpha)
        classes.append(
            ClassPreview(
                name=name,
                chosen=int(of_class.sum()),
                expected=_mean(sure[of_class]),
                threshold=level if level < NEVER else None,
                gold_rows=rows,
                gold_precision=right / rows if rows else float("nan"),
                gold_lower=float(low),
            )
        )
    reasons = selection.words()
    return Preview(
        rows=len(selection),
        chosen=int(selection.chosen.sum()),
        coverage=_mean(selection.chosen.float()) if len(selection) else 0.0,
        mass=float(selection.weight.sum()),
        expected=_mean(sure[selection.chosen]),
        classes=classes,
        reasons={word: reasons.count(word) for word in dict.fromkeys(reasons)},
        notes=list(selection.notes),
    )


def _gold_above(gold: Gold | None, label: int, level: float) -> tuple[int, int]:
    """Returns how many gold rows a class's threshold would take, and how many of them are right."""
    if gold is None or level >= NEVER or not len(gold.label):
        return 0, 0
    confidence, predicted = gold.probs.max(1)
    taken = (predicted == label) & (confidence >= level)
    if gold.eligible is not None:
        taken = taken & gold.eligible
    return int(taken.sum()), int((gold.label[taken] == label).sum())


def _mean(x: torch.Tensor) -> float:
    return float(x.double().mean()) if len(x) else float("nan")
