"""Outside voters: what other models say of the utterances, as one more view of the pool.

Letters: V voters, N utterances, C classes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import RunError, reading

LACKS = "say what its columns or keys are: ids, classes and probs in .npz, id and p_<class> in .csv"


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
    votes = [
        probabilities_of(Path(path), ids, classes, caller="data.outside", owner="the manifest")
        for path in paths
    ]
    return torch.from_numpy(np.stack(votes).astype(np.float32))


def outside_notes(paths: list[str], votes: Tensor) -> list[str]:
    """Returns a sentence for each voter: how many of the pool's rows (V, P, C) it speaks of."""
    asked = (~votes.isnan().any(-1)).sum(1).tolist()
    of_pool = f"of {votes.shape[1]} pool rows"
    return [f"outside voter {p}: {n} {of_pool}" for p, n in zip(paths, asked, strict=True)]


def probabilities_of(
    path: Path, ids: np.ndarray, classes: list[str], *, caller: str, owner: str,
    several: bool = False,
) -> np.ndarray:  # fmt: skip
    """Returns (N, C) float64 of the file's rows, NaN where it has none.

    Args:
        path: .npz with ids, classes, probs; or .csv/.parquet with id and p_<class> columns.
        ids: (N,) utterances asked for.
        classes: labels in the order asked for.
        caller: who asks; stands before every complaint.
        owner: what has these ids and classes, such as "the manifest".
        several: each class by itself within 0 and 1; else rows sum to 1.

    Raises:
        RunError: the file is none, has other classes, names a row twice, or holds no probabilities.
    """
    where = f"{caller}: {path}"
    named, theirs, given = _read(path, where)
    if sorted(theirs) != sorted(classes):
        raise RunError(
            f"{where} has the classes {', '.join(theirs)}, {owner} has {', '.join(classes)}; they "
            "must be the same labels"
        )
    place = {name: i for i, name in enumerate(named)}
    if len(place) < len(named):
        raise RunError(f"{where} names an utterance twice; one row per id")
    off = (given > 1).any(1) if several else np.abs(given.sum(1) - 1) > 0.02
    wrong = (given < 0).any(1) | off
    if wrong.any():
        rule = "must be within 0 and 1" if several else "must be >= 0 and sum to 1"
        raise RunError(
            f"{where} does not hold probabilities: the row of '{named[int(wrong.argmax())]}' "
            f"{rule} (is it logits?)"
        )
    at = np.array([place.get(str(name), -1) for name in ids])
    if not (at >= 0).any():
        raise RunError(f"{where} has none of the utterance ids of {owner}, such as {ids[0]}")
    order = [theirs.index(c) for c in classes]
    return np.where((at >= 0)[:, None], given[at][:, order], np.nan)


def _read(path: Path, where: str) -> tuple[list[str], list[str], np.ndarray]:
    """Returns ids, classes and (n, C) probabilities of a file."""
    if not path.is_file():
        raise RunError(f"{where}: no such file of probabilities")
    if path.suffix not in (".npz", ".csv", ".parquet"):
        raise RunError(f"{where}: probabilities are read from .npz, .csv and .parquet only")
    with reading(path, "a file of probabilities", LACKS):
        return _arrays(path, where) if path.suffix == ".npz" else _table(path, where)


def _arrays(path: Path, where: str) -> tuple[list[str], list[str], np.ndarray]:
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as held:
        missing = [k for k in ("ids", "classes", "probs") if k not in held]
        if missing:
            raise RunError(f"{where} lacks {', '.join(missing)}; {LACKS}")
        ids, classes, probs = (held[k] for k in ("ids", "classes", "probs"))
    probs = np.asarray(probs, dtype=np.float64)
    if probs.shape != (len(ids), len(classes)):
        raise RunError(
            f"{where}: probs must be {(len(ids), len(classes))} for its ids and classes, "
            f"got {probs.shape}"
        )
    known = ~np.isnan(probs).any(1)
    return [str(i) for i in ids[known]], [str(c) for c in classes], probs[known]


def _table(path: Path, where: str) -> tuple[list[str], list[str], np.ndarray]:
    import pandas as pd

    table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    columns = [c for c in table.columns if str(c).startswith("p_")]
    if "id" not in table or not columns:
        raise RunError(f"{where} lacks {'id' if 'id' not in table else 'p_<class>'}; {LACKS}")
    table = table.dropna(subset=columns)
    ids = table["id"].astype(str).tolist()
    return ids, [c[2:] for c in columns], table[columns].to_numpy(dtype=np.float64)
