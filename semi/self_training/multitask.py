"""What the rounds do where a row has several labels, or valence and arousal: pick and judge.

Letters: G chains, E members, P pool rows, C classes, n gold rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from pseudo_label.pool import BELOW, CHOSEN, UNCERTAIN
from pseudo_label.selection import cap_mass

from ..evaluation.multitask import YES, mean_ccc, multi_measured
from ..training.dataset import Dataset
from .state import PseudoLabels, RoundState
from .teacher import TeacherOutputs

BINS = 3  # parts of the predicted range of each dimension that are picked from alike


def judge_task(dataset: Dataset, outputs: TeacherOutputs, config: Any) -> tuple[float, float]:
    """Returns the gate's metric of the task on gold out-of-fold rows and its standard error."""
    rows, name = dataset.gold.cpu().numpy(), config.rounds.metric
    group = dataset.group[rows]
    if name == "ccc":
        if outputs.affect is None or dataset.affect is None:
            raise ValueError("rounds.metric=ccc needs task.kind affect or joint")
        truth = dataset.affect[dataset.gold].cpu()
        return mean_ccc(outputs.affect.oof.cpu(), truth, group, config.seed)
    truth = dataset.target[dataset.gold].cpu()
    found = multi_measured(outputs.oof.cpu(), truth, group, dataset.classes, config.seed)
    return found[name], found["intervals"][name]["se"]


def choose_several(
    dataset: Dataset, state: RoundState, config: Any, rate: float
) -> tuple[PseudoLabels, Tensor]:
    """Returns the rows whose every class is decided at the threshold, at most `rate` of the pool.

    Their target is the decision, their weight falls with the spread of the members.
    """
    tau = _thresholds(dataset, config.select)
    here = dataset.present[dataset.pool]
    voter = state.outputs.voter
    probs = torch.stack(
        [voter.vote(voter.by_head(heads), here) for heads in state.outputs.pool_logits]
    )  # (G, P, C)
    sure = torch.maximum(probs, 1 - probs)
    passed = (sure >= tau).all(2) & (probs >= YES).any(2)
    chosen = passed & _top(sure.amin(2), passed, rate, dataset.tie())
    weight = chosen * _trust(_member_spread(dataset, state).mean(2), chosen)
    soft = config.select.targets == "soft"
    target = probs if soft else (probs >= YES).to(probs.dtype)
    last = probs[-1]
    pseudo_labels = PseudoLabels(
        chosen,
        probs.argmax(2),
        _capped(dataset, weight, config.select.mass_cap),
        last,
        tau,
        torch.where(chosen[-1], CHOSEN, BELOW).to(torch.int8),
        [{} for _ in range(dataset.folds + 1)],
        [f"{int(chosen[-1].sum())} rows have every class decided at the threshold"],
        affect=None if state.outputs.affect is None else state.outputs.affect.pool,
    )
    return pseudo_labels, target


def choose_affect(
    dataset: Dataset, state: RoundState, config: Any, rate: float
) -> tuple[PseudoLabels, Tensor]:
    """Returns the `rate` of the pool whose interval is narrowest: its members differ least.

    The interval mean +- q s has the width of the spread s whatever q is, so none has to be chosen.
    Within bins of the predicted value: over all of them only mid-range rows would be left, and the
    student would regress to the mean.
    """
    said = state.outputs.affect
    if said is None or dataset.affect is None:
        raise ValueError("task.kind affect needs valence or arousal in the manifest")
    known = dataset.affect[dataset.gold]
    scale = torch.nan_to_num(_deviation(known), nan=1.0).clamp(min=1e-6)  # (2,)
    spread = (said.pool_spread / scale).mean(2)  # (G, P)
    code = torch.stack([_bins(chain) for chain in said.pool])  # (G, P)
    tie = dataset.tie()
    chosen = torch.zeros_like(spread, dtype=torch.bool)
    for part in range(BINS**2):
        inside = code == part
        chosen |= inside & _top(-spread, inside, rate, tie, of_part=True)
    weight = chosen * _trust(spread, chosen)
    classes = len(dataset.classes)
    pseudo_labels = PseudoLabels(
        chosen,
        torch.zeros_like(code),
        _capped(dataset, weight, config.select.mass_cap),
        spread.new_full((code.shape[1], classes), 1 / classes),
        spread.new_zeros(classes),
        torch.where(chosen[-1], CHOSEN, UNCERTAIN).to(torch.int8),
        [{} for _ in range(dataset.folds + 1)],
        [f"{int(chosen[-1].sum())} rows of the smallest spread of the members"],
        affect=said.pool,
    )
    return pseudo_labels, spread.new_zeros(*code.shape, classes)


def _thresholds(dataset: Dataset, config: Any) -> Tensor:
    unknown = sorted(set(config.per_class) - set(dataset.classes))
    if unknown:
        raise ValueError(
            f"select.per_class names {', '.join(unknown)}, but the classes are "
            f"{', '.join(dataset.classes)}"
        )
    given = [config.per_class.get(c, config.threshold) for c in dataset.classes]
    return torch.tensor(given, device=dataset.device)


def _top(
    score: Tensor, among: Tensor, rate: float, tie: Tensor, *, of_part: bool = False
) -> Tensor:
    """Returns which rows of `among` (G, P) are the best by score: `rate` of all P, or of them."""
    order = tie.argsort(stable=True)  # equal scores: by the hash of the id
    ranked = score.masked_fill(~among, -torch.inf)[:, order]
    place = ranked.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    rank = torch.empty_like(place).scatter_(1, order.expand_as(place), place)
    size = among.sum(1, keepdim=True) if of_part else among.shape[1]
    limit = rate * torch.as_tensor(size, device=score.device)
    return among & (rank < torch.ceil(limit))


def _trust(spread: Tensor, chosen: Tensor) -> Tensor:
    """Returns (G, P) weights s0^2 / (s^2 + s0^2), s0 the median spread of what is chosen."""
    middle = spread.masked_fill(~chosen, torch.nan).nanmedian(1, keepdim=True).values
    middle = torch.nan_to_num(middle, nan=1.0).clamp(min=1e-6)
    return middle.square() / (spread.square() + middle.square())


def _capped(dataset: Dataset, weight: Tensor, cap: float) -> Tensor:
    mass = [float((dataset.fold != k).sum()) for k in range(len(weight))]
    return torch.stack([cap_mass(w, m, cap) for w, m in zip(weight, mass, strict=True)])


@torch.no_grad()
def _member_spread(dataset: Dataset, state: RoundState) -> Tensor:
    """Returns the deviation of the members' probabilities (G, P, C), of the fused head."""
    if state.ensemble is None:
        raise RuntimeError("the round that teaches has no model")
    rows = dataset.pool
    values = {m: v[rows] for m, v in dataset.values.items()}
    said = state.ensemble.predict_logits(values, dataset.present[rows]).fused.sigmoid()
    return said.unflatten(0, (dataset.folds + 1, -1)).std(1, correction=0)


def _bins(value: Tensor) -> Tensor:
    """Returns (P,) int64 numbers of the bin of each row (P, 2), equal parts of each dimension."""
    code = torch.zeros(len(value), dtype=torch.int64, device=value.device)
    for i in range(value.shape[1]):
        place = value[:, i].argsort(stable=True).argsort()
        code = code * BINS + place * BINS // max(len(value), 1)
    return code


def _deviation(value: Tensor) -> Tensor:
    found = np.nanstd(value.cpu().numpy(), axis=0) if len(value) else np.ones(2)
    return torch.from_numpy(np.asarray(found)).to(value)
