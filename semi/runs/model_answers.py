"""What a run's model says of rows of its dataset, block by block: no copy of their vectors is held.

Letters: N rows of the dataset, R of them that are asked for.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..self_training.model_dir import Model
from ..training.dataset import Dataset
from ..training.teacher import Prediction, answer

BLOCK = 65_536  # rows answered at once


@torch.no_grad()
def model_answers(model: Model, dataset: Dataset, rows: Tensor | None = None) -> Prediction:
    """Returns the answers of a model to rows (R,) of a dataset; to all N where none are named."""
    parts = []
    count = len(dataset.present) if rows is None else len(rows)
    for start in range(0, max(count, 1), BLOCK):
        at = slice(start, start + BLOCK) if rows is None else rows[start : start + BLOCK]
        values = {name: value[at] for name, value in dataset.values.items()}
        parts.append(answer(model.ensemble, model.voter, values, dataset.present[at], model.chains))
    affect = [part.affect for part in parts if part.affect is not None]
    return Prediction(
        torch.cat([part.probs for part in parts]),
        torch.cat([part.by_head for part in parts], 1),
        torch.cat(affect) if affect else None,
    )
