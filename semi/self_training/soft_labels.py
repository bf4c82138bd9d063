"""What the models of a round teach others: soft labels of gold and pool, chain by chain.

Letters: G chains (the last one holds nothing out), n gold rows, P pool rows, R rows, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..training.dataset import Dataset
from ..training.teacher import chain_affect, chain_logits, prediction_of
from .pool_answers import pool_logits
from .state import RoundState


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
def soft_labels_of(dataset: Dataset, state: RoundState) -> SoftLabels:
    """Returns what the models of a round say of all training rows; the pool is asked once.

    Args:
        dataset: the data.
        state: the judged round, with the models of all chains.
    """
    outputs, ensemble = state.outputs, state.ensemble
    if ensemble is None:
        raise RuntimeError("the round that teaches has no model")
    voter, chains = outputs.voter, dataset.folds + 1
    here, there = dataset.present[dataset.gold], dataset.present[dataset.pool]
    on_gold = chain_logits(
        ensemble, dataset.values, dataset.present, chains, multi=voter.multi,
        heads=len(voter.heads), rows=dataset.gold,
    )  # fmt: skip
    gold = torch.stack([voter.probabilities(raw, here) for raw in on_gold])
    gold[-1] = outputs.oof
    on_pool = pool_logits(dataset, state)
    ships = prediction_of(voter, on_pool[-1:] if state.alone else on_pool, there).probs
    pool = [*(voter.probabilities(raw, there) for raw in on_pool[:-1]), ships]
    silent = ~there.any(1)[None, :, None]
    probs = torch.stack(pool).double().masked_fill(silent, float("nan"))
    gold_affect = pool_affect = None
    if (affect := outputs.affect) is not None:
        own = chain_affect(
            ensemble, dataset.values, dataset.present, chains, rows=dataset.gold
        )[0]  # fmt: skip
        own[-1] = affect.oof
        shown = affect.pool[-1] if state.alone else affect.pool.mean(0)
        every = torch.cat([affect.pool[:-1], shown[None]]).double()
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
