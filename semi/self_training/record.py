"""What a finished round tells people: round.json, which the report and TensorBoard show."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from pseudo_label.reliability import risk_coverage

from ..config.learning import LearningConfig
from ..evaluation.metrics import name_groups
from ..training.dataset import Dataset
from ..training.teacher import Prediction, answer
from .confidence import confidence_facts
from .state import RoundState, shipped
from .tasks import TASKS

BINS = 10


def shipped_prediction(dataset: Dataset, state: RoundState, rows: Tensor) -> Prediction | None:
    """Returns what a round's model says about rows of the dataset; None if there is no model."""
    if state.ensemble is None or not len(rows):
        return None
    models, chains = shipped(state.ensemble, dataset.folds + 1, state.alone)
    voter, present = state.outputs.voter, dataset.present
    return answer(models, voter, dataset.values, present, chains, rows=rows)


def reliability(probs: np.ndarray, label: np.ndarray) -> list[dict]:
    """Returns per confidence bin of equal mass: mean confidence, accuracy and rows."""
    if not len(label):
        return []
    confidence, right = probs.max(1), probs.argmax(1) == label
    order = np.argsort(confidence, kind="stable")
    return [
        {
            "confidence": float(confidence[part].mean()),
            "accuracy": float(right[part].mean()),
            "rows": len(part),
        }
        for part in np.array_split(order, min(BINS, len(order)))
    ]


def risk_curve(probs: np.ndarray, label: np.ndarray) -> list[dict]:
    """Returns the error rate among the most confident share of gold rows, at 20 shares."""
    if not len(label):
        return []
    coverage, risk = risk_coverage(probs.max(1), probs.argmax(1) == label)
    at = np.unique(np.ceil(np.linspace(0.05, 1, 20) * len(label)).astype(int)) - 1
    return [{"coverage": float(coverage[i]), "risk": float(risk[i])} for i in at]


def gold_among(dataset: Dataset, rows: Tensor) -> Tensor:
    """Returns those of rows outside training whose label is known; only they can be scored."""
    return rows[dataset.label[rows] >= 0]


def measured_on(
    dataset: Dataset, state: RoundState, rows: Tensor, config: LearningConfig
) -> dict | None:
    """Returns metrics on gold rows outside training (test or dev), or None."""
    rows = gold_among(dataset, rows)
    prediction = shipped_prediction(dataset, state, rows)
    if prediction is None:
        return None
    affect = None if prediction.affect is None else prediction.affect.cpu().numpy()
    probs = prediction.probs.cpu().numpy()
    metrics = TASKS[config.task.kind].measured(dataset, rows, probs, affect)
    return name_groups(metrics, dataset.group_kind)


def round_record(dataset: Dataset, state: RoundState, config: LearningConfig, rule: str) -> dict:
    """Returns the JSON-able account of a judged round; every metric is on gold rows.

    `rule` is the name of what chose its pseudo-labels.
    """
    gold = dataset.gold.cpu().numpy()
    label, oof = dataset.label[dataset.gold].cpu().numpy(), state.outputs.oof.cpu().numpy()
    pseudo_labels, task, affect = state.pseudo_labels, TASKS[config.task.kind], state.outputs.affect
    values = None if affect is None else affect.oof.cpu().numpy()
    record = {
        "round": state.number,
        "rule": rule if pseudo_labels is not None else None,
        "coverage_asked": state.coverage,
        "gold_rows": len(gold),
        "pool_rows": len(dataset.pool),
        "added": int(pseudo_labels.chosen[-1].sum()) if pseudo_labels is not None else 0,
        "accepted": state.accepted,
        "alone": state.alone,
        "verdict": state.verdict,
        "gate": {"metric": config.rounds.metric, "value": state.metric, "se": state.se},
        "metrics_oof": name_groups(
            task.measured(dataset, dataset.gold, oof, values), dataset.group_kind
        ),
        "metrics_dev": measured_on(dataset, state, dataset.dev, config),
        "metrics_test": measured_on(dataset, state, dataset.test, config),
        "calibration": state.outputs.voter.state_dict(),
        "reliability": reliability(oof, label) if task.one_class else [],
        "risk_coverage": risk_curve(oof, label),
        "class_mix": None,
        "pseudo": None,
        "floor": state.floor,
        "notes": pseudo_labels.notes if pseudo_labels is not None else [],
    }
    if pseudo_labels is not None:
        record |= task.facts(dataset, pseudo_labels)
        if task.one_class:
            record["confidence"] = confidence_facts(dataset, state)
    return record
