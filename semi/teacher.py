"""What a finished run teaches others: soft labels of all its training rows, computed once.

Letters: G chains (the last one holds nothing out), n gold rows, P pool rows, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from .files import replacing
from .finished import Finished, reopen
from .teaching import answer

TEACHER = "teacher.npz"  # in the teacher's run folder


@dataclass
class SoftLabels:
    """Calibrated probabilities of a teacher; NaN rows where it cannot say anything."""

    gold_ids: np.ndarray  # (n,) str
    gold: np.ndarray  # (n, C) from the chain that held the row out
    fold: np.ndarray  # (n,) that chain
    pool_ids: np.ndarray  # (P,) str
    pool: np.ndarray  # (G, P, C) of each chain; the last one of the model that ships
    classes: list[str]
    # valence and arousal, where the teacher says them: (n, 2) and (G, P, 2), else None
    gold_affect: np.ndarray | None = None
    pool_affect: np.ndarray | None = None


def soft_labels(path: str | Path) -> SoftLabels:
    """Returns what a finished run says of its training rows; read back where it was stored."""
    kept = Path(path, TEACHER)
    finished = Path(path, "result.json")
    here = kept.is_file() and finished.is_file()
    if here and kept.stat().st_mtime_ns >= finished.stat().st_mtime_ns:
        with np.load(kept, allow_pickle=False) as held:
            return SoftLabels(**{k: held[k] for k in held.files if k != "classes"},
                                  classes=held["classes"].tolist())  # fmt: skip
    labels = _say(reopen(path))
    with replacing(kept) as temporary, open(temporary, "wb") as target:
        np.savez(target, **{k: v for k, v in vars(labels).items() if v is not None})
    return labels


@torch.no_grad()
def _say(done: Finished) -> SoftLabels:
    problem, teaching, model = done.problem, done.teaching, done.model
    voter = teaching.voter
    here = problem.present[problem.pool]
    chains = [voter.vote(voter.by_head(raw), here) for raw in teaching.pool_logits[:-1]]
    values = {m: v[problem.pool] for m, v in problem.values.items()}
    shipped = answer(model.ensemble, voter, values, here, model.chains)
    chains.append(shipped.probs)
    silent = ~here.any(1)[None, :, None]
    pool = torch.stack(chains).double().masked_fill(silent, float("nan"))
    gold_affect = pool_affect = None
    if teaching.affect is not None and shipped.affect is not None:
        gold_affect = teaching.affect.oof.double().numpy()
        every = torch.cat([teaching.affect.pool[:-1], shipped.affect[None]]).double()
        pool_affect = every.masked_fill(silent, float("nan")).numpy()
    return SoftLabels(
        gold_ids=problem.ids[problem.gold.numpy()].astype(str),
        gold=teaching.oof.double().numpy(),
        fold=problem.fold.numpy(),
        pool_ids=problem.ids[problem.pool.numpy()].astype(str),
        pool=pool.numpy(),
        classes=problem.classes,
        gold_affect=gold_affect,
        pool_affect=pool_affect,
    )
