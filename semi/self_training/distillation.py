"""What a student is taught: given labels, and the teacher's word on gold and pool rows.

Letters: G chains, n gold rows, P pool rows, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from pseudo_label.pool import CHOSEN, UNCERTAIN

from ..config.distillation import DistillConfig
from ..config.schema import Config
from ..errors import RunError
from ..training.dataset import Dataset
from ..training.targets import TrainingTargets
from .soft_labels import SoftLabels
from .state import PseudoLabels, capped
from .targets import targets_of

LEAST = 0.01  # weight of a given label where alpha is 0: the scale of all weights hangs on it


def distillation_targets(
    dataset: Dataset, labels: SoftLabels, config: Config
) -> tuple[TrainingTargets, PseudoLabels]:
    """Returns what the student learns from, and the pool as picked.

    Gold rows stand twice: with their given label, and at the end of the table, as often drawn as
    pool rows, with the teacher's word. Where student and teacher have the same folds, each chain of
    the student is taught by the teacher's chain that held out the same gold, and by no other: those
    learned the very labels that it is judged on. The last chain, which holds nothing out, hears
    what was said of gold rows out-of-fold.
    """
    if labels.classes != dataset.classes:
        raise RunError(
            f"the teacher knows {', '.join(labels.classes)}, the student is to learn "
            f"{', '.join(dataset.classes)}; they must have the same classes"
        )
    sources, notes = _sources(dataset, labels)
    pseudo_labels, target = _pool_labels(dataset, labels, config, sources)
    pseudo_labels.notes += notes
    whole = targets_of(dataset, pseudo_labels, target)
    targets = _gold_again(dataset, labels, config, sources, whole)
    if not len(targets.pseudo):
        raise RunError(
            f"the teacher has an answer for none of the {len(dataset.gold)} gold and pool rows"
        )
    return targets, pseudo_labels


def _sources(dataset: Dataset, labels: SoftLabels) -> tuple[list[int], list[str]]:
    """Returns the teacher's chain that teaches each of the student's, and what is odd about it."""
    chains = dataset.folds + 1
    names = dataset.ids[dataset.gold.cpu().numpy()]
    fold = _rows_of(names, labels.gold_ids, labels.fold[:, None])[:, 0]
    known = ~np.isnan(fold)
    same = bool((fold[known] == dataset.fold.cpu().numpy()[known]).all())
    if same and len(labels.pool) == chains:
        return list(range(chains)), []
    return [len(labels.pool) - 1] * chains, [
        "student and teacher have different folds: out-of-fold scores of the student are "
        "optimistic, its teacher saw the rows held out; test scores are not touched"
    ]


def _pool_labels(
    dataset: Dataset, labels: SoftLabels, config: Config, sources: list[int]
) -> tuple[PseudoLabels, Tensor]:
    """Returns the pool as picked, and the (G, P, C) targets of its rows."""
    device, sharp = dataset.device, config.distill
    ids = dataset.ids[dataset.pool.cpu().numpy()]
    pool, affect = _of_rows(ids, labels.pool_ids, labels.pool, labels.pool_affect, sources)
    answered = np.asarray(np.isfinite(pool).all(2))
    chosen = torch.from_numpy(answered).to(device) & (sharp.pool_weight > 0)
    plain = np.where(answered[..., None], pool, 1 / pool.shape[2])
    pseudo_labels = PseudoLabels(
        chosen=chosen,
        label=torch.from_numpy(plain.argmax(2)).to(device),
        weight=capped(dataset, chosen.float() * sharp.pool_weight, config.select.mass_cap),
        probs=_tensor(plain[-1], device),
        threshold=torch.zeros(len(dataset.classes), device=device),
        reason=torch.where(chosen[-1], CHOSEN, UNCERTAIN).to(torch.int8),
        state=[{} for _ in sources],
    )
    if config.task.affect and affect is not None:
        pseudo_labels.affect = _tensor(affect, device)
    return pseudo_labels, _tensor(flattened(plain, sharp, config.task.multi), device)


def _gold_again(
    dataset: Dataset, labels: SoftLabels, config: Config, sources: list[int],
    whole: TrainingTargets,
) -> TrainingTargets:  # fmt: skip
    """Returns the targets with the gold rows a second time, as the teacher sees them.

    Given labels weigh alpha, every word of the teacher 1 - alpha on gold and 1 on the pool.
    """
    device, sharp = dataset.device, config.distill
    names = dataset.ids[dataset.gold.cpu().numpy()]
    gold, affect = _of_rows(names, labels.gold_ids, labels.gold, labels.gold_affect, sources)
    answered = np.asarray(np.isfinite(gold).all((0, 2)))
    again = dataset.gold[torch.from_numpy(answered).to(device)]
    own = torch.arange(len(dataset.present), len(dataset.present) + len(again), device=device)
    share = max(sharp.alpha, LEAST)
    given = whole.weight.clone()
    given[:, dataset.gold] *= share
    held_in = torch.stack([(dataset.fold != k).float() for k in range(len(sources))])  # (G, n)
    taught = held_in[:, torch.from_numpy(answered).to(device)] * (1 - share)
    words = flattened(gold[:, answered], sharp, config.task.multi)  # (G, n', C)
    values = whole.affect
    if values is not None:
        affect_values = values[:, again] if affect is None else _tensor(affect[:, answered], device)
        values = torch.cat([values, affect_values], 1)
    return replace(
        whole,
        values={m: torch.cat([v[:], v[again]]) for m, v in whole.values.items()},
        present=torch.cat([whole.present, whole.present[again]]),
        target=torch.cat([whole.target, _tensor(words, device)], 1),
        weight=torch.cat([given, taught], 1),
        pseudo=torch.cat([whole.pseudo, own]),
        affect=values,
    )


def _tensor(values: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(values).float().to(device)


def flattened(probs: np.ndarray, sharp: DistillConfig, several: bool) -> np.ndarray:
    """Returns the teacher's word (..., C) as it is learned: flattened, or its logits for mse.

    Of several labels a row every class is a question of its own.
    """
    p = np.clip(probs, 1e-6, 1 - 1e-6) if several else np.clip(probs, 1e-12, None)
    logits = np.log(p) - np.log1p(-p) if several else np.log(p)
    if sharp.match == "mse":
        return logits
    if several:
        return 1 / (1 + np.exp(-logits / sharp.temperature))
    power = np.exp(logits / sharp.temperature)
    return power / power.sum(-1, keepdims=True)


def _rows_of(ids: np.ndarray, known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns the values (n, D) of `ids`; NaN where `known` (k,) has no such id."""
    place = {name: i for i, name in enumerate(known.tolist())}
    at = np.array([place.get(name, -1) for name in ids.tolist()], dtype=np.int64)
    if not len(values):
        return np.full((len(ids), values.shape[1]), np.nan)
    return np.where((at >= 0)[:, None], values[at].astype(np.float64), np.nan)


def _of_rows(
    ids: np.ndarray, known: np.ndarray, probs: np.ndarray, affect: np.ndarray | None,
    sources: Sequence[int],
) -> tuple[np.ndarray, np.ndarray | None]:  # fmt: skip
    """Returns (G, n, C) probabilities and (G, n, 2) values of `ids` from the teacher's chains.

    Args:
        ids: (n,) rows of the student.
        known: (k,) rows of the teacher.
        probs: (chains, k, C) what it says of them.
        affect: (chains, k, 2) valence and arousal, or None.
        sources: the chain that teaches each of the student's chains.
    """
    taught = np.stack([_rows_of(ids, known, probs[k]) for k in sources])
    if affect is None:
        return taught, None
    return taught, np.stack([_rows_of(ids, known, affect[k]) for k in sources])
