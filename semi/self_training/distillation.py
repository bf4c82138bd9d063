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
from pseudo_label.selection import cap_mass

from ..config.distillation import DistillConfig
from ..config.schema import Config
from ..errors import RunError
from ..training.batches import TrainingTargets
from ..training.dataset import Dataset
from .rounds import targets_of
from .soft_labels import SoftLabels
from .state import PseudoLabels

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
    task, sharp = config.task, config.distill
    if labels.classes != dataset.classes:
        raise RunError(
            f"the teacher knows {', '.join(labels.classes)}, the student is to learn "
            f"{', '.join(dataset.classes)}; they must have the same classes"
        )
    chains, device, notes = dataset.folds + 1, dataset.device, []
    names = dataset.ids[dataset.gold.cpu().numpy()]
    fold = _rows_of(names, labels.gold_ids, labels.fold[:, None])
    known = ~np.isnan(fold[:, 0])
    same = len(labels.pool) == chains and bool(
        (fold[known, 0] == dataset.fold.cpu().numpy()[known]).all()
    )
    if not same:
        notes.append(
            "student and teacher have different folds: out-of-fold scores of the student are "
            "optimistic, its teacher saw the rows held out; test scores are not touched"
        )
    sources = range(chains) if same else [len(labels.pool) - 1] * chains
    ids = dataset.ids[dataset.pool.cpu().numpy()]

    def tensor(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).float().to(device)

    gold, gold_affect = _of_rows(names, labels.gold_ids, labels.gold, labels.gold_affect, sources)
    pool, pool_affect = _of_rows(ids, labels.pool_ids, labels.pool, labels.pool_affect, sources)
    on_gold = np.asarray(np.isfinite(gold).all((0, 2)))
    on_pool = np.asarray(np.isfinite(pool).all(2))
    chosen = torch.from_numpy(on_pool).to(device) & (sharp.pool_weight > 0)
    weight = chosen.float() * sharp.pool_weight
    held_in = torch.stack([(dataset.fold != k).float() for k in range(chains)])  # (G, n)
    for k in range(chains):
        weight[k] = cap_mass(weight[k], float(held_in[k].sum()), config.select.mass_cap)
    plain = np.where(on_pool[..., None], pool, 1 / pool.shape[2])
    pseudo_labels = PseudoLabels(
        chosen=chosen,
        label=torch.from_numpy(plain.argmax(2)).to(device),
        weight=weight,
        probs=tensor(plain[-1]),
        threshold=torch.zeros(len(dataset.classes), device=device),
        reason=torch.where(chosen[-1], CHOSEN, UNCERTAIN).to(torch.int8),
        state=[{} for _ in range(chains)],
        notes=notes,
    )
    if task.affect and pool_affect is not None:
        pseudo_labels.affect = tensor(pool_affect)
    whole = targets_of(dataset, pseudo_labels, tensor(flattened(plain, sharp, task.multi)))

    # given labels weigh alpha, every word of the teacher 1 - alpha on gold and 1 on the pool
    share = max(sharp.alpha, LEAST)
    count, n = len(dataset.gold), len(dataset.present)
    again = dataset.gold[torch.from_numpy(on_gold).to(device)]
    own = torch.arange(n, n + len(again), device=device)
    given = whole.weight.clone()
    given[:, dataset.gold] *= share
    taught = held_in[:, torch.from_numpy(on_gold).to(device)] * (1 - share)
    words = tensor(flattened(gold[:, on_gold], sharp, task.multi))  # (G, n', C)
    affect = whole.affect
    if affect is not None:
        value = affect[:, again]
        if gold_affect is not None:
            value = tensor(gold_affect[:, on_gold])
        affect = torch.cat([affect, value], 1)
    targets = replace(
        whole,
        values={m: torch.cat([v, v[again]]) for m, v in whole.values.items()},
        present=torch.cat([whole.present, whole.present[again]]),
        target=torch.cat([whole.target, words], 1),
        weight=torch.cat([given, taught], 1),
        pseudo=torch.cat([whole.pseudo, own]),
        affect=affect,
    )
    if not len(targets.pseudo):
        raise RunError(f"the teacher has an answer for none of the {count} gold and pool rows")
    return targets, pseudo_labels


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
