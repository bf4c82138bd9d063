"""What a round's record says where the task is not one class a row."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..config.task import task_of
from ..evaluation.multitask import YES, affect_measured, multi_measured
from ..training.dataset import Dataset


def measured_task(
    dataset: Dataset, config: Any, rows: Tensor, probs: Any, affect: Any, single: Any
) -> dict:
    """Returns the metrics of gold rows for the task at hand.

    Args:
        dataset: the data.
        config: the run's settings.
        rows: (R,) rows of the dataset.
        probs: (R, C) probabilities.
        affect: (R, 2) valence and arousal, or None.
        single: `measured` of one class a row.
    """
    task, group = task_of(config), dataset.group[rows.cpu().numpy()]
    found: dict[str, Any]
    if task.multi and dataset.multi is not None:
        truth = dataset.multi[rows].cpu().numpy()
        found = multi_measured(probs, truth, group, dataset.classes, config.seed)
    elif task.kind == "affect":
        found = {"rows": len(rows)}
    else:
        label = dataset.label[rows].cpu().numpy()
        found = single(probs, label, group, dataset.classes, config.seed)
    if task.affect and affect is not None and dataset.affect is not None:
        told = affect_measured(affect, dataset.affect[rows].cpu().numpy(), group, config.seed)
        found |= {"ccc": told.pop("ccc"), "affect": told}
    return found


def picked_several(dataset: Dataset, pseudo_labels: Any) -> dict:
    """Returns what a round added by class, and how many of its labels hidden gold confirms."""
    chosen = pseudo_labels.chosen[-1]
    said = (pseudo_labels.probs >= YES)[chosen]  # (A, C)
    facts: dict[str, Any] = {
        "class_mix": dict(zip(dataset.classes, said.sum(0).tolist(), strict=True)),
        "class_mix_kl": None,
    }
    if dataset.multi is None:
        return facts
    truth = dataset.multi[dataset.pool][chosen]
    known = ~truth.isnan().any(1)
    if bool((~dataset.multi[dataset.pool].isnan().any(1)).any()):
        hit = (said & (truth > 0.5))[known].sum()
        facts["pseudo"] = _hidden(chosen, known, float(hit) / max(1, int(said[known].sum())))
    return facts


def picked_affect(dataset: Dataset, pseudo_labels: Any) -> dict:
    """Returns how well the added values agree with hidden ones."""
    facts: dict[str, Any] = {"class_mix": None}
    if dataset.affect is None or pseudo_labels.affect is None:
        return facts
    chosen = pseudo_labels.chosen[-1]
    rows = dataset.pool[chosen]
    truth = dataset.affect[rows]
    known = ~truth.isnan().all(1)
    if bool(known.any()):
        said = pseudo_labels.affect[-1][chosen][known].cpu().numpy()
        group = dataset.group[rows[known].cpu().numpy()]
        told = affect_measured(said, truth[known].cpu().numpy(), group, seed=0)
        facts["pseudo"] = _hidden(chosen, known, None) | {"ccc": told["ccc"]}
    return facts


def _hidden(chosen: Tensor, known: Tensor, precision: float | None) -> dict:
    checked = int(known.sum())
    return {
        "rows": len(chosen),
        "chosen": int(chosen.sum()),
        "checked": checked,
        "coverage": float(chosen.float().mean()) if len(chosen) else 0.0,
        "precision": precision if checked else float("nan"),
    }


def several_words(probs: np.ndarray | Tensor, classes: list[str]) -> np.ndarray:
    """Returns (R,) texts 'a;b' of every class from a probability of 0.5 on, else of the best."""
    probs = probs.cpu().numpy() if isinstance(probs, torch.Tensor) else probs
    yes = probs >= YES
    if len(probs):
        yes[np.arange(len(probs)), probs.argmax(1)] = True
    words = [";".join(c for c, y in zip(classes, row, strict=True) if y) for row in yes]
    return np.array(words, dtype=object)
