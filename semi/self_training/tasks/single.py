"""One class a row: how gold is judged, the pool selected from, and both are recorded.

Letters: G chains, P pool rows, R rows, C classes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pseudo_label.selection import select

from ...config.learning import LearningConfig
from ...data.manifest import Manifest
from ...evaluation.intervals import interval
from ...evaluation.metrics import measured, pseudo_report, score
from ...training.dataset import Dataset
from ...training.students import STUDENTS
from ...training.teacher import TeacherOutputs
from ..pool import Pools
from ..state import PseudoLabels, RoundState, capped, negatives
from .taught_rows import TaughtRows


class Single:
    """The task `single`."""

    one_class = True  # a row has one class: information, agreement and reliability make sense

    def dataset(self, dataset: Dataset, manifest: Manifest) -> Dataset:
        """Returns the dataset with the targets that the task needs: it as it is."""
        return dataset

    def judge(
        self, dataset: Dataset, outputs: TeacherOutputs, config: LearningConfig
    ) -> tuple[float, float]:
        """Returns the gate's metric on gold out-of-fold rows and its standard error."""
        rows, name = dataset.gold.cpu().numpy(), config.rounds.metric
        probs, label = outputs.oof.cpu().numpy(), dataset.label[dataset.gold].cpu().numpy()
        value = getattr(score(probs, label, dataset.classes), name)
        se = interval(probs, label, dataset.group[rows], name).se
        return float(value), float(se)

    def select(
        self, dataset: Dataset, state: RoundState, config: LearningConfig, rate: float, number: int
    ) -> tuple[PseudoLabels, Tensor]:
        """Returns what the rule picks for each chain and the (G, P, C) targets of all pool rows."""
        pools, cap = Pools(dataset, state, config, rate, number), config.select.mass_cap
        chains, parts = dataset.folds + 1, []
        target = dataset.target.new_empty(chains, len(dataset.pool), len(dataset.classes))
        for k in range(chains):  # the last one ships
            part = select(pools.of(k), config.select)
            target[k] = part.target
            probs = part.probs if k == dataset.folds else None
            parts.append(replace(part, target=target[k], probs=probs))
        weight = capped(dataset, torch.stack([part.weight for part in parts]), cap)
        last, negative = parts[-1], None
        assert last.probs is not None  # `select` says what it saw
        if STUDENTS[config.model.kind].by_steps:
            negative = negatives(dataset, [p.negative for p in parts], cap)
        pseudo_labels = PseudoLabels(
            torch.stack([p.chosen for p in parts]),
            torch.stack([p.label for p in parts]),
            weight,
            last.probs,
            last.threshold,
            last.reason,
            [p.state for p in parts],
            last.notes,
            affect=state.outputs.affect.pool if state.outputs.affect is not None else None,
            negative=negative,
        )
        return pseudo_labels, target

    def measured(self, dataset: Dataset, rows: Tensor, probs: Any, affect: Any) -> dict[str, Any]:
        """Returns all metrics of gold rows and the interval over groups of the main ones.

        Args:
            dataset: the data.
            rows: (R,) rows of it.
            probs: (R, C) probabilities.
            affect: (R, 2) valence and arousal, or None; not of this task.
        """
        label = dataset.label[rows].cpu().numpy()
        group = dataset.group[rows.cpu().numpy()]
        return measured(probs, label, group, dataset.classes)

    def facts(self, dataset: Dataset, pseudo_labels: PseudoLabels) -> dict[str, Any]:
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

    def columns(self, taught: TaughtRows) -> dict[str, Any]:
        """Returns the columns of the ledger that say what the teacher saw in each row."""
        return {
            "label": np.array(taught.classes, dtype=object)[taught.label.cpu().numpy()],
            "threshold": threshold_of(taught),
            "confidence": rounded(taught.probs.amax(1)),
            **head_columns(taught, self.words),
            **class_columns(taught, taught.logits[0].exp()),
        }

    def words(self, probs: np.ndarray, classes: list[str]) -> np.ndarray:
        """Returns (R,) the likeliest class by name."""
        return np.array(classes, dtype=object)[probs.argmax(1)]


def hidden_facts(chosen: Tensor, known: Tensor, precision: float | None) -> dict:
    """Returns what is known of the pseudo-labels (P,) whose true label was hidden."""
    checked = int(known.sum())
    return {
        "rows": len(chosen),
        "chosen": int(chosen.sum()),
        "checked": checked,
        "coverage": float(chosen.float().mean()) if len(chosen) else 0.0,
        "precision": precision if checked else float("nan"),
    }


def rounded(values: Tensor) -> np.ndarray:
    """Returns a tensor as an array of six decimals."""
    return values.cpu().numpy().round(6)


def threshold_of(taught: TaughtRows) -> np.ndarray:
    """Returns (R,) the threshold of each row's class."""
    return rounded(taught.threshold)[taught.label.cpu().numpy()]


def head_columns(taught: TaughtRows, words: Any) -> dict[str, Any]:
    """Returns vote_<head> and confidence_<head>; a modality that a row lacks has no vote."""
    by_head = taught.voter.by_head(taught.logits).cpu().numpy()  # (H, R, C)
    present = taught.present.cpu().numpy()
    columns: dict[str, Any] = {}
    for i, head in enumerate(taught.voter.heads):
        vote = words(by_head[i], taught.classes)
        sure = by_head[i].max(1).round(6) if len(vote) else np.zeros(0)
        if i:
            vote = np.where(present[:, i - 1], vote, None)
            sure = np.where(present[:, i - 1], sure, np.nan)
        columns |= {f"vote_{head}": vote, f"confidence_{head}": sure}
    return columns


def class_columns(taught: TaughtRows, raw: Tensor) -> dict[str, Any]:
    """Returns p_<class> as the rule saw it and raw_<class> (R, C) before calibration."""
    calibrated, before = rounded(taught.probs), rounded(raw)
    columns = {f"p_{name}": calibrated[:, c] for c, name in enumerate(taught.classes)}
    return columns | {f"raw_{name}": before[:, c] for c, name in enumerate(taught.classes)}


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
