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
        np.savez(target, **vars(labels))
    return labels


@torch.no_grad()
def _say(done: Finished) -> SoftLabels:
    problem, teaching, model = done.problem, done.teaching, done.model
    voter = teaching.voter
    here = problem.present[problem.pool]
    chains = [voter.vote(voter.by_head(raw), here) for raw in teaching.pool_logits[:-1]]
    values = {m: v[problem.pool] for m, v in problem.values.items()}
    chains.append(answer(model.ensemble, voter, values, here, model.chains).probs)
    pool = torch.stack(chains).double().masked_fill(~here.any(1)[None, :, None], float("nan"))
    return SoftLabels(
        gold_ids=problem.ids[problem.gold.numpy()].astype(str),
        gold=teaching.oof.double().numpy(),
        fold=problem.fold.numpy(),
        pool_ids=problem.ids[problem.pool.numpy()].astype(str),
        pool=pool.numpy(),
        classes=problem.classes,
    )
