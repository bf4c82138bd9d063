"""Outside voters: what other models say of the utterances, as one more view of the pool.

Letters: V voters, N utterances, C classes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .probabilities import probabilities_of


def outside_votes(paths: list[str], ids: np.ndarray, classes: list[str]) -> Tensor | None:
    """Returns (V, N, C) probabilities, NaN where a voter has none; None without voters.

    Args:
        paths: .npz with ids, classes, probs; or .csv/.parquet with id and p_<class> columns.
        ids: (N,) utterance ids of the manifest.
        classes: label order of the run.

    Raises:
        RunError: the file is none, has other classes, names a row twice, or holds no probabilities.
    """
    if not paths:
        return None
    asked = {"caller": "data.outside", "owner": "the manifest"}
    votes = [probabilities_of(Path(path), ids, classes, **asked) for path in paths]
    return torch.from_numpy(np.stack(votes).astype(np.float32))


def outside_notes(paths: list[str], votes: Tensor) -> list[str]:
    """Returns a sentence for each voter: how many of the pool's rows (V, P, C) it speaks of."""
    asked = (~votes.isnan().any(-1)).sum(1).tolist()
    told = f"of {votes.shape[1]} pool rows"
    return [f"outside voter {p}: {n} {told}" for p, n in zip(paths, asked, strict=True)]
