"""Scores of what runs say, for every kind of task: on gold rows that have an answer, no other.

Letters: n rows, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..config.task import TaskConfig
from ..evaluation.intervals import Interval, intervals
from ..evaluation.metrics import mcnemar, measured
from ..evaluation.multitask import (
    AFFECT,
    affect_measured,
    affect_sums,
    multi_measured,
    multi_sums,
    of_sums,
)
from ..evaluation.names import AFFECT_NAMES, MULTI_NAMES, SINGLE_NAMES
from .predictions import Predictions

VALUES = AFFECT_NAMES | {"valence_ccc": "valence CCC", "arousal_ccc": "arousal CCC"}


@dataclass
class Score:
    """Metrics of one set of answers on one split."""

    rows: int  # gold rows with an answer
    left_out: int  # gold rows that cannot be read
    metrics: dict[str, float]  # by the names of `names_of`, and others
    intervals: dict[str, Interval]
    facts: dict[str, Any]  # per class and so on, as round.json holds them

    @property
    def units(self) -> str:
        """What the interval is over, such as '10 groups'."""
        unit = next(iter(self.intervals.values()), None)
        return unit.over() if unit else ""


def names_of(kind: str) -> dict[str, str]:
    """Returns the scores of a kind of task, by name, with the words of a table's head."""
    task = TaskConfig(kind)
    names = MULTI_NAMES if task.multi else {} if kind == "affect" else SINGLE_NAMES
    return names | (VALUES if task.affect else {})


def main_metric(kind: str) -> str:
    """Returns the score that members are chosen by and differences are told in."""
    return "ccc" if kind == "affect" else "macro_f1"


def score_of(predictions: Predictions, split: str) -> Score:
    """Returns the scores of the gold rows of a split (oof, dev or test) that have an answer."""
    return score_rows(predictions, predictions.scored(split), len(predictions.rows(split)))


def score_rows(predictions: Predictions, rows: np.ndarray, asked: int | None = None) -> Score:
    """Returns the scores of answered gold rows; `asked` counts those that have no answer too."""
    group, lost = predictions.group[rows], (asked if asked is not None else len(rows)) - len(rows)
    done = Score(len(rows), lost, {}, {}, {})
    if not len(rows):
        return done
    task = predictions.task
    if predictions.several is not None:
        metrics = multi_measured(
            predictions.probs[rows], predictions.several[rows], group, predictions.classes
        )
        _add(done, metrics, MULTI_NAMES)
    elif task.kind != "affect":
        metrics = measured(
            predictions.probs[rows], predictions.label[rows], group, predictions.classes
        )
        _add(done, metrics, SINGLE_NAMES)
    if task.affect and predictions.affect is not None and predictions.affect_truth is not None:
        value, truth = predictions.affect[rows], predictions.affect_truth[rows]
        value = np.where(np.isnan(value), np.nanmean(truth, 0), value)  # a member without any
        metrics = affect_measured(value, truth, group)
        for name in AFFECT:
            done.metrics |= {f"{name}_{k}": metrics[name][k] for k in ("ccc", "pearson", "rmse")}
        done.metrics["ccc"] = metrics["ccc"]
        done.intervals |= of_sums(affect_sums(value, truth), None, group)
    return done


def _add(done: Score, metrics: dict, names: dict[str, str]) -> None:
    done.facts = metrics
    done.metrics |= {k: v for k, v in metrics.items() if isinstance(v, float)}
    done.intervals |= {k: Interval(**metrics["intervals"][k]) for k in names}


@dataclass
class Gap:
    """How one set of answers differs from another on the rows that both answer."""

    rows: int
    left_out: int  # gold rows that only one of them, or none, can read
    differences: dict[str, Interval]  # by the names of `names_of`
    mcnemar_p: float | None  # None where a row has no single label


def gap_of(one: Predictions, other: Predictions, split: str) -> Gap:
    """Returns the differences one - other, each with its paired interval over groups."""
    asked = one.rows(split)
    rows = asked[one.answered[asked] & other.answered[asked]]
    group, differences, p = one.group[rows], {}, None
    if not len(rows):
        return Gap(0, len(asked), {}, None)
    probs, other_probs = one.probs[rows], other.probs[rows]
    if one.several is not None:
        truth = one.several[rows]
        differences |= of_sums(multi_sums(probs, truth), multi_sums(other_probs, truth), group)
    elif one.kind != "affect":
        label = one.label[rows]
        both = intervals([probs, other_probs], label, group)
        differences |= {k: both[k] for k in SINGLE_NAMES}
        p = mcnemar(probs.argmax(1), other_probs.argmax(1), label)["p_value"]
    truth = one.affect_truth
    if one.affect is not None and other.affect is not None and truth is not None:
        truth = truth[rows]
        middle = float(np.nanmean(truth))
        both = (np.nan_to_num(a[rows], nan=middle) for a in (one.affect, other.affect))
        sums = [affect_sums(value, truth) for value in both]
        differences |= of_sums(sums[0], sums[1], group)
    return Gap(len(rows), len(asked) - len(rows), differences, p)


def renamed(predictions: Predictions, name: str, **changes: Any) -> Predictions:
    """Returns the answers under another name."""
    return replace(predictions, name=name, **changes)
