"""What a finished round tells people: round.json, which the report and TensorBoard show."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from pseudo_label.reliability import risk_coverage

from ..config.task import task_of
from ..evaluation.bootstrap import bootstrap
from ..evaluation.metrics import pseudo_report, score
from ..training.dataset import Dataset
from .multitask_record import measured_task, picked_affect, picked_several
from .state import RoundState, shipped
from .teacher import Prediction, answer

INTERVALS = ("accuracy", "waf", "macro_f1", "uar")
BINS = 10


def shipped_prediction(dataset: Dataset, state: RoundState, rows: Tensor) -> Prediction | None:
    """Returns what a round's model says about rows of the dataset; None if there is no model."""
    if state.ensemble is None or not len(rows):
        return None
    values = {m: v[rows] for m, v in dataset.values.items()}
    models, chains = shipped(state.ensemble, dataset.folds + 1, state.alone)
    return answer(models, state.outputs.voter, values, dataset.present[rows], chains)


def measured(probs: Any, label: Any, group: Any, classes: list[str], seed: int) -> dict:
    """Returns all metrics of gold rows and a grouped bootstrap interval of the main ones."""
    found = score(probs, label, classes).to_dict()
    found["intervals"] = {
        name: bootstrap(probs, label, group, name, seed=seed).to_dict() for name in INTERVALS
    }
    return found


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


def _on(dataset: Dataset, state: RoundState, rows: Tensor, config: Any) -> dict | None:
    """Returns metrics on gold rows outside training (test or dev), or None."""
    rows = rows[dataset.label[rows] >= 0]
    said = shipped_prediction(dataset, state, rows)
    if said is None:
        return None
    affect = None if said.affect is None else said.affect.cpu().numpy()
    return measured_task(dataset, config, rows, said.probs.cpu().numpy(), affect, measured)


def round_record(dataset: Dataset, state: RoundState, config: Any) -> dict:
    """Returns the JSON-able account of a judged round; every metric is on gold rows."""
    gold = dataset.gold.cpu().numpy()
    label, oof = dataset.label[dataset.gold].cpu().numpy(), state.outputs.oof.cpu().numpy()
    pseudo_labels, task, affect = state.pseudo_labels, task_of(config), state.outputs.affect
    values = None if affect is None else affect.oof.cpu().numpy()
    record = {
        "round": state.number,
        "rule": config.select.rule if pseudo_labels is not None else None,
        "coverage_asked": state.coverage,
        "gold_rows": len(gold),
        "pool_rows": len(dataset.pool),
        "added": int(pseudo_labels.chosen[-1].sum()) if pseudo_labels is not None else 0,
        "accepted": state.accepted,
        "alone": state.alone,
        "verdict": state.verdict,
        "gate": {"metric": config.rounds.metric, "value": state.metric, "se": state.se},
        "metrics_oof": measured_task(dataset, config, dataset.gold, oof, values, measured),
        "metrics_dev": _on(dataset, state, dataset.dev, config),
        "metrics_test": _on(dataset, state, dataset.test, config),
        "calibration": state.outputs.voter.state_dict(),
        "reliability": reliability(oof, label) if task.kind in ("single", "joint") else [],
        "risk_coverage": risk_curve(oof, label),
        "class_mix": None,
        "pseudo": None,
        "notes": pseudo_labels.notes if pseudo_labels is not None else [],
    }
    if pseudo_labels is not None:
        facts = picked_affect if task.kind == "affect" else _selection_facts
        record |= (picked_several if task.multi else facts)(dataset, pseudo_labels)
    return record


def _selection_facts(dataset: Dataset, pseudo_labels) -> dict:
    """Returns what was added, by class, and how much of it was right where gold was hidden."""
    chosen, label = pseudo_labels.chosen[-1], pseudo_labels.label[-1]
    hidden = dataset.label[dataset.pool]
    count = torch.bincount(label[chosen], minlength=len(dataset.classes)).tolist()
    facts: dict[str, Any] = {"class_mix": dict(zip(dataset.classes, count, strict=True))}
    prior, mix = dataset.prior(), torch.tensor(count, device=label.device) + 1e-6
    mix = mix / mix.sum()
    facts["class_mix_kl"] = float((mix * (mix / prior).log()).sum())
    known = (hidden >= 0).cpu().numpy()
    if known.any():
        report = pseudo_report(chosen.cpu(), label.cpu(), hidden.cpu(), dataset.classes)
        facts["pseudo"] = report.to_dict()
        facts["pseudo"]["curve"] = _precision_curve(
            pseudo_labels.probs.cpu().numpy()[known], hidden.cpu().numpy()[known]
        )
    return facts


def _precision_curve(probs: np.ndarray, truth: np.ndarray) -> list[dict]:
    """Returns precision of the teacher's labels at growing coverage of the pool."""
    order = np.argsort(-probs.max(1), kind="stable")
    right = np.cumsum(probs.argmax(1)[order] == truth[order])
    sizes = np.unique(np.ceil(np.linspace(0.05, 1, 20) * len(truth)).astype(int))
    return [
        {"coverage": float(n / len(truth)), "precision": float(right[n - 1] / n)}
        for n in sizes
        if n
    ]
