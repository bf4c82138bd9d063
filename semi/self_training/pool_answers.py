"""What the models of a round say of the pool: asked where it is wanted, not kept with the round.

Of a large pool it is more than all else that a round holds, and it follows from the models.

Letters: G chains (last one holds nothing out), H heads (fused first), P pool rows, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from models.fusion.config import ON_AXES

from ..features.tensors import Vectors
from ..training.dataset import Dataset
from ..training.ensemble import Ensemble
from ..training.teacher import chain_logits
from .state import RoundState


@torch.no_grad()
def pool_logits(dataset: Dataset, state: RoundState) -> Tensor:
    """Returns (G, H, P, C) raw, of every chain of a round; that of the last one stays at hand.

    RuntimeError where the models are gone: those of a round that was rolled back.
    """
    if state.ensemble is None:
        raise RuntimeError(f"round {state.number} was rolled back: it has no models to ask")
    voter = state.outputs.voter
    values, ensemble = narrowest(dataset, state.ensemble)
    every = chain_logits(
        ensemble, values, dataset.present, dataset.folds + 1, multi=voter.multi,
        heads=len(voter.heads), rows=dataset.pool,
    )  # fmt: skip
    state.last_logits = every[-1].clone()
    return every


def last_logits(dataset: Dataset, state: RoundState) -> Tensor:
    """Returns (H, P, C) raw, of the chain that holds nothing out."""
    if state.last_logits is None:
        return pool_logits(dataset, state)[-1]
    return state.last_logits


def pool_probabilities(dataset: Dataset, state: RoundState) -> Tensor:
    """Returns what each chain says of the pool (G, P, C), calibrated and voted."""
    here, voter = dataset.present[dataset.pool], state.outputs.voter
    return torch.stack([voter.probabilities(raw, here) for raw in pool_logits(dataset, state)])


def pool_answers(dataset: Dataset, state: RoundState) -> Tensor:
    """Returns the class (P,) int64 that the last chain calls each pool row; asked for once."""
    if state.answers is None:
        raw, here = last_logits(dataset, state), dataset.present[dataset.pool]
        state.answers = state.outputs.voter.probabilities(raw, here).argmax(1)
    return state.answers


def narrowest(dataset: Dataset, ensemble: Ensemble) -> tuple[Mapping[str, Vectors], Ensemble]:
    """Returns values that the members can be asked with and the members that read these.

    Where the dataset holds its rows on the axes of these linear members, no more is needed.
    """
    if dataset.seen is None or ensemble.config.kind not in ON_AXES:
        return dataset.values, ensemble
    axes = [ensemble.params[f"views.{i}.basis"].shape[2] for i in range(len(ensemble.dims))]
    if axes != [value.shape[1] for value in dataset.seen.values()]:  # a floor of other width
        return dataset.values, ensemble
    return dataset.seen, ensemble.on_axes()
