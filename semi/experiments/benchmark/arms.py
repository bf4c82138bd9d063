"""The arms of a benchmark: rules, controls and scikit-learn on one and the same dataset.

Letters: T test rows, P pool rows, C classes, G chains.
"""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...config.learning import LearningConfig
from ...config.recipes import resolved
from ...evaluation.metrics import pseudo_report
from ...self_training.model_selection import SharedStart, select_model
from ...self_training.record import shipped_prediction
from ...self_training.rounds import Outcome, choose, run_rounds
from ...self_training.state import PseudoLabels, RoundState
from ...self_training.view_selection import select_views
from ...training.dataset import Dataset

PLACEBO_SEED = 1_000_003  # added to the seed of the placebo
POISON_COVERAGE = 0.6  # share of the pool whose labels the shuffled arm asks for


@dataclass
class ArmPredictions:
    """What an arm says about the test rows, and how it came to it."""

    predicted: np.ndarray  # (T,) int
    facts: dict[str, Any] = field(default_factory=dict)


class Starts:
    """One shared start for each way of training: arms that differ in select and rounds share."""

    def __init__(self) -> None:
        self.known: dict[str, SharedStart] = {}

    def of(self, dataset: Dataset, learning: LearningConfig) -> SharedStart:
        """Returns the start of these settings on these views of the problem's dataset."""
        kept = {k: v for k, v in asdict(learning).items() if k not in ("select", "rounds", "given")}
        # layers 1 to 3 joined and 2 to 4 joined are both called speech: only what is in them tells
        views = {m: _digest(v[dataset.gold]) for m, v in dataset.values.items()}
        about = [len(dataset.pool), learning.rounds.metric, learning.rounds.floor]
        key = json.dumps([kept, views, about], sort_keys=True)
        return self.known.setdefault(key, SharedStart())


def _digest(values: Tensor) -> str:
    return hashlib.sha256(values.cpu().numpy().tobytes()).hexdigest()


def rounds_arm(dataset: Dataset, learning: LearningConfig, starts: Starts) -> ArmPredictions:
    """Returns the answers of gated self-training."""
    begun = time.process_time()
    dataset, learning = _settled(dataset, learning, starts)
    live = partial(_live, starts)
    outcome = live(dataset, select_model(dataset, learning, live).config)
    return predictions_of(dataset, outcome, begun)


def _settled(
    dataset: Dataset, learning: LearningConfig, starts: Starts
) -> tuple[Dataset, LearningConfig]:
    """Returns the views and settings that a recipe comes to."""
    learning, _ = resolved(learning, len(dataset.gold), len(dataset.pool))
    found = select_views(dataset, learning, partial(_live, starts))
    return found.dataset, found.config


def _live(starts: Starts, dataset: Dataset, learning: LearningConfig) -> Outcome:
    return run_rounds(dataset, learning, recorder=starts.of(dataset, learning))


def supervised_arm(dataset: Dataset, learning: LearningConfig, starts: Starts) -> ArmPredictions:
    """Returns the answers of the same ensemble without any round."""
    from dataclasses import replace

    none = replace(learning, rounds=replace(learning.rounds, max_rounds=0))
    return rounds_arm(dataset, none, starts)


def placebo_arm(dataset: Dataset, learning: LearningConfig, starts: Starts) -> ArmPredictions:
    """Returns supervised answers of another seed: how far a mere re-run moves the numbers."""
    from dataclasses import replace

    return supervised_arm(dataset, replace(learning, seed=learning.seed + PLACEBO_SEED), starts)


def shuffled_arm(dataset: Dataset, learning: LearningConfig, starts: Starts) -> ArmPredictions:
    """Returns the answers of rounds of wrong pseudo-labels: the gate must object."""
    from dataclasses import replace

    begun = time.process_time()
    dataset, learning = _settled(dataset, learning, starts)
    select = replace(learning.select, rule="class_topk", coverage=[POISON_COVERAGE])
    poisoned = replace(learning, select=select)
    shared = starts.of(dataset, poisoned)
    outcome = run_rounds(dataset, poisoned, recorder=shared, pick=poison)
    return predictions_of(dataset, outcome, begun)


def poison(
    dataset: Dataset, state: RoundState, config: LearningConfig, rate: float, number: int
) -> tuple[PseudoLabels, Tensor]:
    """Returns what the rule picks, every chosen row under a random class that is not its own."""
    pseudo_labels, target = choose(dataset, state, config, rate, number)
    classes = len(dataset.classes)
    generator = torch.Generator().manual_seed(config.seed * 31 + number)
    step = torch.randint(1, max(classes, 2), pseudo_labels.label.shape, generator=generator)
    wrong = (pseudo_labels.label + step.to(pseudo_labels.label)) % classes
    pseudo_labels.label = torch.where(pseudo_labels.chosen, wrong, pseudo_labels.label)
    hard = torch.nn.functional.one_hot(pseudo_labels.label, classes).to(target)
    return pseudo_labels, torch.where(pseudo_labels.chosen[..., None], hard, target)


def predictions_of(dataset: Dataset, outcome: Outcome, begun: float) -> ArmPredictions:
    """Returns the test answers of the round that ships, and the account of the rounds."""
    final = outcome.final
    prediction = shipped_prediction(dataset, final, dataset.test)
    if prediction is None:
        raise RuntimeError("the round that ships has no model")
    tried = outcome.states[1:]
    facts: dict[str, Any] = {
        "rounds": len(tried),
        "accepted": sum(s.accepted for s in tried),
        "shipped": final.number,
        "stopped": outcome.stopped,
        "oof_start": outcome.states[0].metric,
        "oof_final": final.metric,
    }
    if final.pseudo_labels is not None:
        hidden = dataset.label[dataset.pool].cpu()
        report = pseudo_report(
            final.pseudo_labels.chosen[-1].cpu(),
            final.pseudo_labels.label[-1].cpu(),
            hidden,
            dataset.classes,
        )
        facts |= {"coverage": report.coverage, "precision": report.precision}
    facts["cpu_seconds"] = time.process_time() - begun
    return ArmPredictions(prediction.probs.argmax(1).cpu().numpy(), facts)


# --- scikit-learn on the same features -----------------------------------------------------------


def sklearn_arm(dataset: Dataset, kind: str) -> ArmPredictions:
    """Returns the answers of scikit-learn: logistic, self_training_<threshold>, label_spreading."""
    begun = time.process_time()
    x = torch.cat([v[:] for v in dataset.values.values()], 1).cpu().numpy()
    gold, pool, test = (t.cpu().numpy() for t in (dataset.gold, dataset.pool, dataset.test))
    label = dataset.label.cpu().numpy()
    model = _sklearn(kind, len(gold) + len(pool))
    rows, y = gold, label[gold]
    if kind != "logistic":
        rows = np.concatenate([gold, pool])
        y = np.concatenate([label[gold], np.full(len(pool), -1)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no convergence within max_iter is part of the bar
        model.fit(x[rows], y)
        predicted = np.asarray(model.predict(x[test]))
    return ArmPredictions(predicted, {"cpu_seconds": time.process_time() - begun})


def _sklearn(kind: str, rows: int) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier

    if kind == "label_spreading":
        return LabelSpreading(kernel="knn", n_neighbors=min(10, rows - 1))
    linear = LogisticRegression(C=0.3, max_iter=300, class_weight="balanced")
    if kind == "logistic":
        return linear
    return SelfTrainingClassifier(linear, threshold=float(kind.rpartition("_")[2]), max_iter=5)
