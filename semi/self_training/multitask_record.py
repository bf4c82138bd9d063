"""What a round's record says where the task is not one class a row."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..config.task import task_of
from ..evaluation.multitask import YES, affect_measured, multi_measured
from ..training.dataset import Problem


def measured_task(
    problem: Problem, config: Any, rows: Tensor, probs: Any, affect: Any, single: Any
) -> dict:
    """Returns the metrics of gold rows for the task at hand.

    Args:
        problem: the data.
        config: the run's settings.
        rows: (R,) rows of the problem.
        probs: (R, C) probabilities.
        affect: (R, 2) valence and arousal, or None.
        single: `measured` of one class a row.
    """
    task, group = task_of(config), problem.group[rows.cpu().numpy()]
    found: dict[str, Any]
    if task.multi and problem.multi is not None:
        truth = problem.multi[rows].cpu().numpy()
        found = multi_measured(probs, truth, group, problem.classes, config.seed)
    elif task.kind == "affect":
        found = {"rows": len(rows)}
    else:
        label = problem.label[rows].cpu().numpy()
        found = single(probs, label, group, problem.classes, config.seed)
    if task.affect and affect is not None and problem.affect is not None:
        told = affect_measured(affect, problem.affect[rows].cpu().numpy(), group, config.seed)
        found |= {"ccc": told.pop("ccc"), "affect": told}
    return found


def picked_several(problem: Problem, picked: Any) -> dict:
    """Returns what a round added by class, and how many of its labels hidden gold confirms."""
    chosen = picked.chosen[-1]
    said = (picked.probs >= YES)[chosen]  # (A, C)
    facts: dict[str, Any] = {
        "class_mix": dict(zip(problem.classes, said.sum(0).tolist(), strict=True)),
        "class_mix_kl": None,
    }
    if problem.multi is None:
        return facts
    truth = problem.multi[problem.pool][chosen]
    known = ~truth.isnan().any(1)
    if bool((~problem.multi[problem.pool].isnan().any(1)).any()):
        hit = (said & (truth > 0.5))[known].sum()
        facts["pseudo"] = _hidden(chosen, known, float(hit) / max(1, int(said[known].sum())))
    return facts


def picked_affect(problem: Problem, picked: Any) -> dict:
    """Returns how well the added values agree with hidden ones."""
    facts: dict[str, Any] = {"class_mix": None}
    if problem.affect is None or picked.affect is None:
        return facts
    chosen = picked.chosen[-1]
    rows = problem.pool[chosen]
    truth = problem.affect[rows]
    known = ~truth.isnan().all(1)
    if bool(known.any()):
        said = picked.affect[-1][chosen][known].cpu().numpy()
        group = problem.group[rows[known].cpu().numpy()]
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
