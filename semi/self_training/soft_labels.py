"""What the models of a round teach others: soft labels of gold and pool, chain by chain.

Letters: G chains (the last one holds nothing out), n gold rows, P pool rows, R rows, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..training.dataset import Dataset
from ..training.ensemble import Ensemble
from ..training.teacher import answer, chain_affect, chain_logits
from ..training.voter import Voter
from .pool_answers import pool_probabilities
from .state import RoundState, shipped


@dataclass
class SoftLabels:
    """Calibrated probabilities of a teacher; NaN rows where it cannot say anything."""

    gold_ids: np.ndarray  # (n,) str
    # (G, n, C) of each chain; of the last one from the chain that held the row out. A student's
    # chain may hear its own alone: the others learned the labels that it holds out.
    gold: np.ndarray
    fold: np.ndarray  # (n,) the chain that held the row out
    pool_ids: np.ndarray  # (P,) str
    pool: np.ndarray  # (G, P, C) of each chain; the last one of the model that ships
    classes: list[str]
    # valence and arousal, where the teacher says them: (G, n, 2) and (G, P, 2), else None
    gold_affect: np.ndarray | None = None
    pool_affect: np.ndarray | None = None


@torch.no_grad()
def chain_probabilities(
    ensemble: Ensemble, voter: Voter, values: dict[str, Tensor], present: Tensor, chains: int
) -> Tensor:
    """Returns what each chain by itself says of some rows (G, R, C), calibrated and voted."""
    every = chain_logits(
        ensemble, values, present, chains, multi=voter.multi, heads=len(voter.heads)
    )
    each = [voter.vote(voter.by_head(raw), present) for raw in every]
    return torch.stack(each)


@torch.no_grad()
def soft_labels_of(dataset: Dataset, state: RoundState) -> SoftLabels:
    """Returns what the models of a round say of all training rows.

    Args:
        dataset: the data.
        state: the judged round, with the models of all chains.
    """
    outputs, ensemble = state.outputs, state.ensemble
    if ensemble is None:
        raise RuntimeError("the round that teaches has no model")
    voter, chains = outputs.voter, dataset.folds + 1
    models, count = shipped(ensemble, chains, state.alone)

    def of(rows: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        return {m: v[rows] for m, v in dataset.values.items()}, dataset.present[rows]

    gold = chain_probabilities(ensemble, voter, *of(dataset.gold), chains)
    gold[-1] = outputs.oof
    here = dataset.present[dataset.pool]
    pool = list(pool_probabilities(dataset, state))[:-1]
    prediction = answer(models, voter, *of(dataset.pool), count)
    silent = ~here.any(1)[None, :, None]
    probs = torch.stack([*pool, prediction.probs]).double().masked_fill(silent, float("nan"))
    gold_affect = pool_affect = None
    if outputs.affect is not None and prediction.affect is not None:
        own = chain_affect(ensemble, *of(dataset.gold), chains)[0]
        own[-1] = outputs.affect.oof
        every = torch.cat([outputs.affect.pool[:-1], prediction.affect[None]]).double()
        gold_affect = own.double().cpu().numpy()
        pool_affect = every.masked_fill(silent, float("nan")).cpu().numpy()
    return SoftLabels(
        gold_ids=dataset.ids[dataset.gold.cpu().numpy()].astype(str),
        gold=gold.double().cpu().numpy(),
        fold=dataset.fold.cpu().numpy(),
        pool_ids=dataset.ids[dataset.pool.cpu().numpy()].astype(str),
        pool=probs.cpu().numpy(),
        classes=dataset.classes,
        gold_affect=gold_affect,
        pool_affect=pool_affect,
    )
