"""The pool of a run as acquisition rules see it.

Letters: N rows, P pool rows, k of them, C classes, M modalities.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..self_training.pool import joined_features
from ..self_training.pool_answers import pool_probabilities
from ..self_training.state import RoundState
from ..training.dataset import Dataset
from ..training.teacher import Prediction
from .query_pool import QueryPool


@dataclass
class Asked:
    """Which rows of the pool may be asked about, and what is known of them beside the models."""

    rows: Tensor  # (k,) int64 places in the pool
    cost: Tensor  # (k,) > 0, of labelling each
    fresh: Tensor  # (k,) bool, nobody has judged it yet
    flips: Tensor | None = None  # (k,) changes of the pseudo-label


def candidates_of(
    dataset: Dataset, state: RoundState, answers: Prediction, asked: Asked
) -> QueryPool:
    """Returns the rows that may be asked about, with what a round's models say of them.

    Args:
        dataset: the data, as the round saw them.
        state: the round.
        answers: of the model that ships, to all P pool rows.
        asked: the rows.
    """
    rows, pool = asked.rows, dataset.pool[asked.rows]
    features = joined_features(dataset)
    heads = answers.by_head[1:, rows]
    return QueryPool(
        probs=answers.probs[rows],
        features=features[pool],
        gold_features=features[dataset.gold],
        gold_count=dataset.target[dataset.gold].sum(0),
        group=dataset.group_code(pool),
        tie=dataset.tie()[rows],
        cost=asked.cost,
        chains=pool_probabilities(dataset, state)[:, rows],
        by_modality=heads if len(heads) > 1 else None,
        present=dataset.present[pool] if len(heads) > 1 else None,
        flips=asked.flips,
        multi=dataset.multi is not None,
    )


def every_row(dataset: Dataset) -> Asked:
    """Returns the whole pool, each row at the cost of 1."""
    count = len(dataset.pool)
    return Asked(torch.arange(count), torch.ones(count), torch.ones(count, dtype=torch.bool))
