"""Valence and arousal: judged by concordance, selected by the spread of the members.

Letters: G chains, E members, P pool rows, R rows, C classes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pseudo_label.pool import CHOSEN, UNCERTAIN

from ...config.learning import LearningConfig
from ...data.manifest import Manifest
from ...data.wording import counted
from ...errors import ManifestError
from ...evaluation.multitask import AFFECT, affect_measured, mean_ccc
from ...training.dataset import Dataset
from ...training.teacher import TeacherOutputs
from ..state import PseudoLabels, RoundState, capped
from .single import hidden_facts, rounded
from .spread import top, trust
from .taught_rows import TaughtRows

BINS = 3  # parts of the predicted range of each dimension that are picked from alike


class Affect:
    """The task `affect`; its classes are only what folds were drawn by."""

    one_class = False

    def dataset(self, dataset: Dataset, manifest: Manifest) -> Dataset:
        """Returns the dataset with valence and arousal among its targets."""
        return with_affect(dataset, manifest, "affect")

    def judge(
        self, dataset: Dataset, outputs: TeacherOutputs, config: LearningConfig
    ) -> tuple[float, float]:
        """Returns the mean CCC of gold out-of-fold rows and its standard error."""
        return judge_ccc(dataset, outputs)

    def select(
        self, dataset: Dataset, state: RoundState, config: LearningConfig, rate: float, number: int
    ) -> tuple[PseudoLabels, Tensor]:
        """Returns the `rate` of the pool whose interval is narrowest: its members differ least.

        The interval mean +- q s has the width of the spread s whatever q is, so none has to be
        chosen. Within bins of the predicted value: over all of them only mid-range rows would be
        left, and the student would regress to the mean.
        """
        predicted = state.outputs.affect
        if predicted is None or dataset.affect is None:
            raise ValueError("task.kind affect needs valence or arousal in the manifest")
        known = dataset.affect[dataset.gold]
        scale = torch.nan_to_num(deviation(known), nan=1.0).clamp(min=1e-6)  # (2,)
        spread = (predicted.pool_spread / scale).mean(2)  # (G, P)
        code = torch.stack([bins(chain) for chain in predicted.pool])  # (G, P)
        tie = dataset.tie()
        chosen = torch.zeros_like(spread, dtype=torch.bool)
        for part in range(BINS**2):
            inside = code == part
            chosen |= inside & top(-spread, inside, rate, tie, of_part=True)
        weight = chosen * trust(spread, chosen)
        classes = len(dataset.classes)
        pseudo_labels = PseudoLabels(
            chosen,
            torch.zeros_like(code),
            capped(dataset, weight, config.select.mass_cap),
            spread.new_full((code.shape[1], classes), 1 / classes),
            spread.new_zeros(classes),
            torch.where(chosen[-1], CHOSEN, UNCERTAIN).to(torch.int8),
            [{} for _ in range(dataset.folds + 1)],
            [f"{counted(int(chosen[-1].sum()), 'row')} of the smallest spread of the members"],
            affect=predicted.pool,
        )
        return pseudo_labels, spread.new_zeros(*code.shape, classes)

    def measured(self, dataset: Dataset, rows: Tensor, probs: Any, affect: Any) -> dict[str, Any]:
        """Returns the metrics of gold rows (R,) from valence and arousal (R, 2)."""
        return {"rows": len(rows)} | affect_metrics(dataset, rows, affect)

    def facts(self, dataset: Dataset, pseudo_labels: PseudoLabels) -> dict[str, Any]:
        """Returns how well the added values agree with hidden ones."""
        facts: dict[str, Any] = {"class_mix": None}
        if dataset.affect is None or pseudo_labels.affect is None:
            return facts
        chosen = pseudo_labels.chosen[-1]
        rows = dataset.pool[chosen]
        truth = dataset.affect[rows]
        known = ~truth.isnan().all(1)
        if bool(known.any()):
            predicted = pseudo_labels.affect[-1][chosen][known].cpu().numpy()
            group = dataset.group[rows[known].cpu().numpy()]
            agreement = affect_measured(predicted, truth[known].cpu().numpy(), group)
            facts["pseudo"] = hidden_facts(chosen, known, None) | {"ccc": agreement["ccc"]}
        return facts

    def columns(self, taught: TaughtRows) -> dict[str, Any]:
        """Returns the columns of the ledger that say what the teacher saw in each row."""
        return {"label": None, "threshold": np.nan} | affect_columns(taught)


def with_affect(dataset: Dataset, manifest: Manifest, kind: str) -> Dataset:
    """Returns the dataset with valence and arousal of the manifest; ManifestError without any."""
    value = manifest.table[list(AFFECT)].to_numpy(dtype=np.float32)
    affect = torch.from_numpy(value.copy()).to(dataset.device)
    if bool(affect[dataset.gold].isnan().all()):
        raise ManifestError(
            f"{manifest.path}: task.kind {kind} learns valence and arousal, but no labelled "
            "training row has either; fill these columns or set task.kind=single"
        )
    return replace(dataset, affect=affect)


def judge_ccc(dataset: Dataset, outputs: TeacherOutputs) -> tuple[float, float]:
    """Returns the mean CCC of gold out-of-fold rows and its standard error."""
    if outputs.affect is None or dataset.affect is None:
        raise ValueError("rounds.metric=ccc needs task.kind affect or joint")
    truth, group = dataset.affect[dataset.gold].cpu(), dataset.group[dataset.gold.cpu().numpy()]
    return mean_ccc(outputs.affect.oof.cpu(), truth, group)


def affect_metrics(dataset: Dataset, rows: Tensor, affect: Any) -> dict[str, Any]:
    """Returns ccc and what else is measured of valence and arousal (R, 2); nothing without them."""
    if affect is None or dataset.affect is None:
        return {}
    group = dataset.group[rows.cpu().numpy()]
    metrics = affect_measured(affect, dataset.affect[rows].cpu().numpy(), group)
    return {"ccc": metrics.pop("ccc"), "intervals": metrics.pop("intervals"), "affect": metrics}


def affect_columns(taught: TaughtRows) -> dict[str, Any]:
    """Returns valence, arousal and the spread of the members in each row."""
    columns: dict[str, Any] = {}
    if taught.affect is not None and taught.affect_spread is not None:
        for i, name in enumerate(AFFECT):
            columns[name] = rounded(taught.affect[:, i])
            columns[f"{name}_spread"] = rounded(taught.affect_spread[:, i])
    return columns


def bins(value: Tensor) -> Tensor:
    """Returns (P,) int64 numbers of the bin of each row (P, 2), equal parts of each dimension."""
    code = torch.zeros(len(value), dtype=torch.int64, device=value.device)
    for i in range(value.shape[1]):
        place = value[:, i].argsort(stable=True).argsort()
        code = code * BINS + place * BINS // max(len(value), 1)
    return code


def deviation(value: Tensor) -> Tensor:
    """Returns the standard deviation (2,) of the known values (n, 2)."""
    found = np.nanstd(value.cpu().numpy(), axis=0) if len(value) else np.ones(2)
    return torch.from_numpy(np.asarray(found)).to(value)
