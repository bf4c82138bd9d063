"""Recipe auto on some labels, many times over: what the benchmarks of labelling train.

The student is the linear one, as in benchmarks/floors.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from floors import macro_f1

from models.fusion import FusionConfig
from semi.config.learning import LearningConfig
from semi.config.recipes import resolved
from semi.data.folds import assign_folds
from semi.experiments.benchmark.corpus import BenchCorpus
from semi.experiments.benchmark.data import Outer, dataset_of
from semi.self_training.model_selection import SharedStart, select_model
from semi.self_training.record import shipped_prediction
from semi.self_training.rounds import Outcome, run_rounds
from semi.self_training.standardize_selection import choose_speaker
from semi.self_training.state import RoundState
from semi.self_training.view_selection import candidates, heard_as, linear_trial, select_views
from semi.training.dataset import Dataset
from semi.training.views import viewed


@dataclass
class Learned:
    """What recipe auto came to on some labels."""

    dataset: Dataset  # with the views that it chose
    state: RoundState  # the round that ships
    flips: torch.Tensor | None  # (P,) changes of each pool row's pseudo-label; None: none was given
    macro_f1: float  # on test rows, in percent


def with_gold(corpus: BenchCorpus, split: Outer, gold: np.ndarray, seed: int) -> Dataset:
    """Returns the dataset of an outer split in which the rows `gold` (n,) are labelled."""
    dataset = dataset_of(corpus, split, 20, draw=0, folds=5, seed=seed)
    assert dataset is not None
    gold = np.sort(gold)
    target = torch.zeros_like(dataset.target)
    target[gold, corpus.label[gold]] = 1.0
    dataset = replace(
        dataset,
        values=split.values,
        target=target,
        gold=torch.from_numpy(gold),
        pool=torch.from_numpy(np.setdiff1d(split.train, gold)),
        fold=torch.from_numpy(assign_folds(corpus.rows.at(gold), 5, seed, "group")[0]),
    )
    if split.per_speaker is not None:
        other = replace(dataset, values=split.per_speaker)
        dataset = other if choose_speaker(dataset, other, seed) else dataset
    return dataset


@dataclass
class Axes:
    """Keeps the axes of each view: whatever is labelled, the same rows teach them."""

    known: dict[tuple, dict[str, torch.Tensor] | None]

    def live(self, dataset: Dataset, config: LearningConfig) -> Outcome:
        """Returns the rounds of a student, with the axes that an earlier one found on these values.

        All datasets must have the same rows in gold and pool together.
        """
        sums = [(name, float(x.double().sum())) for name, x in dataset.values.items()]
        key = (config.model.components, config.contrast.axes, len(dataset.pool) + len(dataset.gold),
               *sums)  # fmt: skip
        recorder = SharedStart(self.known.get(key))
        outcome = run_rounds(dataset, config, recorder=recorder)
        self.known[key] = recorder.learned
        return outcome


def learn(dataset: Dataset, quick: bool, axes: Axes | None = None) -> Learned:
    """Returns what recipe auto comes to; `quick` compares nothing and looks at the middle view."""
    live = (axes or Axes({})).live
    config = LearningConfig(recipe="auto", model=FusionConfig(kind="discriminant"))
    config = resolved(config, len(dataset.gold), len(dataset.pool))[0]
    if quick:
        views = next((v for v in candidates(dataset) if "3" in str(v)), candidates(dataset)[0])
        config = heard_as(linear_trial(config), views)
        config = replace(config, rounds=replace(config.rounds, max_rounds=3))
        dataset = viewed(dataset, views)
        outcome = live(dataset, config)
    else:
        views = select_views(dataset, config, live)
        dataset = views.dataset
        outcome = live(dataset, select_model(dataset, views.config, live).config)
    answer = shipped_prediction(dataset, outcome.final, dataset.test)
    assert answer is not None
    label = dataset.label[dataset.test].numpy()
    score = macro_f1(answer.probs.numpy(), label, dataset.classes)
    return Learned(dataset, outcome.final, _flips(outcome), score)


def _flips(outcome: Outcome) -> torch.Tensor | None:
    """Returns how often the label of each pool row (P,) changed, as a run's ledger counts it."""
    given = [s.pseudo_labels.label[-1] for s in outcome.states if s.pseudo_labels is not None]
    if not given:
        return None
    return (torch.stack(given).diff(dim=0) != 0).sum(0).float()
