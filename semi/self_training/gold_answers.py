"""answers.csv: what the model that ships says of every gold row, for the report to list and play.

Training rows are answered out-of-fold, held-out rows by the shipped model, as in round.json.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from ..config.learning import LearningConfig
from ..evaluation.multitask import AFFECT
from ..training.dataset import Dataset
from .record import gold_among, shipped_prediction
from .state import RoundState
from .tasks.multi_label import several_words


def answers_of(dataset: Dataset, final: RoundState, config: LearningConfig) -> pd.DataFrame:
    """Returns one row a gold utterance: id, role, label, said, confidence and p_<class>.

    Several labels are `a;b`. With valence and arousal their values follow, given and said.

    Args:
        dataset: the data.
        final: the round that ships.
        config: the settings; of the task.
    """
    affect = final.outputs.affect
    parts = [("labeled", dataset.gold, final.outputs.oof, None if affect is None else affect.oof)]
    for role, rows in (("dev", dataset.dev), ("test", dataset.test)):
        gold = gold_among(dataset, rows)
        prediction = shipped_prediction(dataset, final, gold)
        if prediction is not None:
            parts.append((role, gold, prediction.probs, prediction.affect))
    tables = [_part(dataset, config.task.kind, *part) for part in parts]
    return pd.concat(tables, ignore_index=True)


def _part(
    dataset: Dataset, kind: str, role: str, rows: torch.Tensor, probs: torch.Tensor,
    affect: torch.Tensor | None,
) -> pd.DataFrame:  # fmt: skip
    """Returns the rows (R,) of one role, from probabilities (R, C) and values (R, 2)."""
    at = rows.cpu().numpy()
    table: dict[str, object] = {"id": dataset.ids[at], "role": np.full(len(at), role)}
    if kind != "affect":  # what folds of valence and arousal are drawn by is no class
        shares = probs.cpu()
        names = np.array(dataset.classes, dtype=object)
        if dataset.multi is None:
            table["label"] = names[dataset.label[rows].cpu().numpy()]
            table["said"] = names[shares.argmax(1).numpy()]
            sure = shares.amax(1)
        else:
            table["label"] = several_words(dataset.multi[rows].cpu(), dataset.classes)
            table["said"] = several_words(shares, dataset.classes)
            sure = torch.maximum(shares, 1 - shares).amin(1)
        table["confidence"] = sure.numpy().round(6)
        columns = shares.numpy().round(6)
        table |= {f"p_{name}": columns[:, c] for c, name in enumerate(dataset.classes)}
    if affect is not None and dataset.affect is not None:
        given, found = dataset.affect[rows].cpu().numpy(), affect.cpu().numpy()
        for i, name in enumerate(AFFECT):
            table |= {name: given[:, i].round(6), f"said_{name}": found[:, i].round(6)}
    return pd.DataFrame(table)
