"""Any number of classes a row: judged class by class, selected where every class is decided.

Letters: G chains, E members, P pool rows, R rows, C classes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pseudo_label import SelectionConfig
from pseudo_label.pool import BELOW, CHOSEN

from ...config.learning import LearningConfig
from ...data.manifest import Manifest
from ...data.wording import counted
from ...evaluation.multitask import YES, multi_measured
from ...training.dataset import Dataset
from ...training.teacher import TeacherOutputs
from ..pool_answers import pool_probabilities
from ..state import PseudoLabels, RoundState, capped
from .single import class_columns, head_columns, hidden_facts, rounded, threshold_of
from .spread import top, trust
from .taught_rows import TaughtRows


class MultiLabel:
    """The task `multi_label`."""

    one_class = False

    def dataset(self, dataset: Dataset, manifest: Manifest) -> Dataset:
        """Returns the dataset with every label of a row among its targets."""
        several = torch.from_numpy(several_labels(manifest)).to(dataset.device)
        target = torch.zeros_like(dataset.target)
        target[dataset.gold] = several[dataset.gold]
        return replace(dataset, target=target, multi=several)

    def judge(
        self, dataset: Dataset, outputs: TeacherOutputs, config: LearningConfig
    ) -> tuple[float, float]:
        """Returns the gate's metric on gold out-of-fold rows and its standard error."""
        group = dataset.group[dataset.gold.cpu().numpy()]
        truth, name = dataset.target[dataset.gold].cpu(), config.rounds.metric
        metrics = multi_measured(outputs.oof.cpu(), truth, group, dataset.classes)
        return metrics[name], metrics["intervals"][name]["se"]

    def select(
        self, dataset: Dataset, state: RoundState, config: LearningConfig, rate: float, number: int
    ) -> tuple[PseudoLabels, Tensor]:
        """Returns the rows whose every class is decided at the threshold, up to `rate` of the pool.

        Their target is the decision, their weight falls with the spread of the members.
        """
        tau = thresholds(dataset, config.select)
        probs = pool_probabilities(dataset, state)  # (G, P, C)
        sure = torch.maximum(probs, 1 - probs)
        passed = (sure >= tau).all(2) & (probs >= YES).any(2)
        chosen = passed & top(sure.amin(2), passed, rate, dataset.tie())
        weight = chosen * trust(member_spread(dataset, state).mean(2), chosen)
        soft = config.select.targets == "soft"
        target = probs if soft else (probs >= YES).to(probs.dtype)
        last = probs[-1]
        pseudo_labels = PseudoLabels(
            chosen,
            probs.argmax(2),
            capped(dataset, weight, config.select.mass_cap),
            last,
            tau,
            torch.where(chosen[-1], CHOSEN, BELOW).to(torch.int8),
            [{} for _ in range(dataset.folds + 1)],
            [
                f"{counted(int(chosen[-1].sum()), 'row', 'has', 'have')} every class decided at "
                "the threshold"
            ],
            affect=None if state.outputs.affect is None else state.outputs.affect.pool,
        )
        return pseudo_labels, target

    def measured(self, dataset: Dataset, rows: Tensor, probs: Any, affect: Any) -> dict[str, Any]:
        """Returns the metrics of gold rows (R,) from probabilities (R, C)."""
        group = dataset.group[rows.cpu().numpy()]
        if dataset.multi is None:
            raise ValueError("a dataset of several labels a row must hold them in `multi`")
        truth = dataset.multi[rows].cpu().numpy()
        return multi_measured(probs, truth, group, dataset.classes)

    def facts(self, dataset: Dataset, pseudo_labels: PseudoLabels) -> dict[str, Any]:
        """Returns what a round added by class, and how many of its labels hidden gold confirms."""
        chosen = pseudo_labels.chosen[-1]
        yes = (pseudo_labels.probs >= YES)[chosen]  # (A, C)
        facts: dict[str, Any] = {
            "class_mix": dict(zip(dataset.classes, yes.sum(0).tolist(), strict=True)),
            "class_mix_kl": None,
        }
        if dataset.multi is None:
            return facts
        truth = dataset.multi[dataset.pool][chosen]
        known = ~truth.isnan().any(1)
        if bool((~dataset.multi[dataset.pool].isnan().any(1)).any()):
            hit = (yes & (truth > 0.5))[known].sum()
            facts["pseudo"] = hidden_facts(
                chosen, known, float(hit) / max(1, int(yes[known].sum()))
            )
        return facts

    def columns(self, taught: TaughtRows) -> dict[str, Any]:
        """Returns the columns of the ledger that say what the teacher saw in each row."""
        probs = taught.probs
        return {
            "label": several_words(probs, taught.classes),
            "threshold": threshold_of(taught),
            "confidence": rounded(torch.maximum(probs, 1 - probs).amin(1)),
            **head_columns(taught, several_words),
            **class_columns(taught, taught.logits[0].sigmoid()),
        }


def several_labels(manifest: Manifest) -> np.ndarray:
    """Returns (N, C) float32: 1 for each label of a row, NaN rows where nothing is known.

    A tie 'a;b', or several winners of the raters' votes, are several labels.
    """
    index = {name: i for i, name in enumerate(manifest.classes)}
    found = np.full((len(manifest), len(index)), np.nan, dtype=np.float32)
    pairs = zip(manifest.table["label"].tolist(), manifest.table["votes"].tolist(), strict=True)
    for row, (label, votes) in enumerate(pairs):
        names = [label] if isinstance(label, str) else []
        if not names and isinstance(votes, dict):
            most = max(votes.get(name, 0.0) for name in index)
            names = [name for name in index if most > 0 and votes.get(name, 0.0) == most]
        if names:
            found[row] = 0.0
            found[row, [index[name] for name in names]] = 1.0
    return found


def several_words(probs: np.ndarray | Tensor, classes: list[str]) -> np.ndarray:
    """Returns (R,) texts 'a;b' of every class from a probability of 0.5 on, else of the best."""
    probs = probs.cpu().numpy() if isinstance(probs, torch.Tensor) else probs
    yes = probs >= YES
    if len(probs):
        yes[np.arange(len(probs)), probs.argmax(1)] = True
    words = [";".join(c for c, y in zip(classes, row, strict=True) if y) for row in yes]
    return np.array(words, dtype=object)


def thresholds(dataset: Dataset, config: SelectionConfig) -> Tensor:
    """Returns the threshold (C,) of each class; ValueError where one names no class."""
    unknown = sorted(set(config.per_class) - set(dataset.classes))
    if unknown:
        raise ValueError(
            f"select.per_class names {', '.join(unknown)}, but the classes are "
            f"{', '.join(dataset.classes)}"
        )
    given = [config.per_class.get(c, config.threshold) for c in dataset.classes]
    return torch.tensor(given, device=dataset.device)


@torch.no_grad()
def member_spread(dataset: Dataset, state: RoundState) -> Tensor:
    """Returns the deviation of the members' probabilities (G, P, C), of the fused head."""
    if state.ensemble is None:
        raise RuntimeError("the round that teaches has no model")
    rows = dataset.pool
    values = {m: v[rows] for m, v in dataset.values.items()}
    probs = state.ensemble.predict_logits(values, dataset.present[rows]).fused.sigmoid()
    return probs.unflatten(0, (dataset.folds + 1, -1)).std(1, correction=0)
