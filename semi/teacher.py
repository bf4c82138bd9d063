"""What a finished run teaches others: soft labels of all its training rows, computed once.

Letters: G chains (the last one holds nothing out), n gold rows, P pool rows, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .ensemble import Ensemble
from .files import replacing
from .finished import Finished, reopen
from .teaching import Voter, answer, chain_affect, chain_logits

TEACHER = "teacher.npz"  # in the teacher's run folder


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


def soft_labels(path: str | Path) -> SoftLabels:
    """Returns what a finished run says of its training rows; read back where it was stored."""
    kept = Path(path, TEACHER)
    finished = Path(path, "result.json")
    here = kept.is_file() and finished.is_file()
    if here and kept.stat().st_mtime_ns >= finished.stat().st_mtime_ns:
        with np.load(kept, allow_pickle=False) as held:
            if held["gold"].ndim == 3:  # else of an earlier version
                return SoftLabels(**{k: held[k] for k in held.files if k != "classes"},
                                  classes=held["classes"].tolist())  # fmt: skip
    labels = _say(reopen(path))
    with replacing(kept) as temporary, open(temporary, "wb") as target:
        np.savez(target, **{k: v for k, v in vars(labels).items() if v is not None})
    return labels


@torch.no_grad()
def chain_words(
    ensemble: Ensemble, voter: Voter, values: dict[str, Tensor], present: Tensor, chains: int
) -> Tensor:
    """Returns what each chain by itself says of some rows (G, R, C), calibrated and voted."""
    every = chain_logits(ensemble, values, present, chains, multi=voter.multi)
    each = [voter.vote(voter.by_head(raw), present) for raw in every[:, : len(voter.heads)]]
    return torch.stack(each)


@torch.no_grad()
def _say(done: Finished) -> SoftLabels:
    problem, teaching, model = done.problem, done.teaching, done.model
    voter, chains = teaching.voter, model.chains

    def of(rows: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        return {m: v[rows] for m, v in problem.values.items()}, problem.present[rows]

    gold = chain_words(model.ensemble, voter, *of(problem.gold), chains)
    gold[-1] = teaching.oof
    here = problem.present[problem.pool]
    pool = [voter.vote(voter.by_head(raw), here) for raw in teaching.pool_logits[:-1]]
    shipped = answer(model.ensemble, voter, *of(problem.pool), chains)
    silent = ~here.any(1)[None, :, None]
    words = torch.stack([*pool, shipped.probs]).double().masked_fill(silent, float("nan"))
    gold_affect = pool_affect = None
    if teaching.affect is not None and shipped.affect is not None:
        own = chain_affect(model.ensemble, *of(problem.gold), chains)[0]
        own[-1] = teaching.affect.oof
        every = torch.cat([teaching.affect.pool[:-1], shipped.affect[None]]).double()
        gold_affect = own.double().numpy()
        pool_affect = every.masked_fill(silent, float("nan")).numpy()
    return SoftLabels(
        gold_ids=problem.ids[problem.gold.numpy()].astype(str),
        gold=gold.double().numpy(),
        fold=problem.fold.numpy(),
        pool_ids=problem.ids[problem.pool.numpy()].astype(str),
        pool=words.numpy(),
        classes=problem.classes,
        gold_affect=gold_affect,
        pool_affect=pool_affect,
    )
