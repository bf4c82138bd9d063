"""Outside voters: what other models say of the utterances, as one more view of the pool.

Letters: V voters, N utterances, C classes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .answers import read_probabilities
from .errors import RunError


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
    return torch.stack([_votes(Path(path), ids, classes) for path in paths])


def outside_notes(paths: list[str], votes: Tensor) -> list[str]:
    """Returns a sentence for each voter: how many of the pool's rows (V, P, C) it speaks of."""
    asked = (~votes.isnan().any(-1)).sum(1).tolist()
    told = f"of {votes.shape[1]} pool rows"
    return [f"outside voter {p}: {n} {told}" for p, n in zip(paths, asked, strict=True)]


def _votes(path: Path, ids: np.ndarray, classes: list[str]) -> Tensor:
    named, theirs, probs = read_probabilities(path)
    if sorted(theirs) != sorted(classes):
        raise RunError(
            f"data.outside: {path} has the classes {', '.join(theirs)}, the manifest has "
            f"{', '.join(classes)}; they must be the same labels"
        )
    if len(set(named)) < len(named):
        raise RunError(f"data.outside: {path} names an utterance twice; one row per id")
    wrong = (probs < 0).any(1) | (np.abs(probs.sum(1) - 1) > 0.02)
    if wrong.any():
        raise RunError(
            f"data.outside: {path} does not hold probabilities: the row of "
            f"'{named[int(wrong.argmax())]}' must be >= 0 and sum to 1 (is it logits?)"
        )
    place = {name: i for i, name in enumerate(named)}
    at = np.array([place.get(str(name), -1) for name in ids])
    if not (at >= 0).any():
        raise RunError(f"data.outside: {path} has none of the manifest's ids, such as {ids[0]}")
    order = [theirs.index(c) for c in classes]
    found = np.where((at >= 0)[:, None], probs[at][:, order], np.nan)
    return torch.from_numpy(found.astype(np.float32))
