"""Outside voters: what other models say of the utterances, as one more view of the pool.

Letters: V voters, N utterances, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..errors import RunError, reading
from ..formulas import unguarded
from .missing import composed
from .wording import VOTER, WARNING, counted, listed, shown

if TYPE_CHECKING:
    import pandas as pd

LACKS = "say what its columns or keys are: ids, classes and probs in .npz, id and p_<class> in .csv"


def outside_votes(
    paths: list[str], ids: np.ndarray, classes: list[str], notes: list[str] | None = None
) -> Tensor | None:
    """Returns (V, N, C) probabilities, NaN where a voter has none; None without voters.

    Args:
        paths: .npz with ids, classes, probs; or .csv/.parquet with id and p_<class> columns.
        ids: (N,) utterance ids of the manifest.
        classes: label order of the run.
        notes: filled with a sentence about each voter that speaks of rows that are not there.

    Raises:
        RunError: the file is none, has other classes, names a row twice, or holds no probabilities.
    """
    if not paths:
        return None
    votes = []
    for path in paths:
        found, strangers = _placed(
            Path(path), ids, classes, caller="data.outside", owner="the manifest"
        )
        votes.append(found)
        if strangers and notes is not None:
            votes_there = counted(len(strangers), "vote", "is", "are")
            notes.append(
                f"{WARNING}{VOTER}{path}: {votes_there} of no row of the manifest, such as "
                f"'{shown(strangers[0], 60)}'"
            )
    return torch.from_numpy(np.stack(votes).astype(np.float32))


def outside_notes(paths: list[str], votes: Tensor) -> list[str]:
    """Returns a sentence for each voter: how many of the pool's rows (V, P, C) it speaks of."""
    asked = (~votes.isnan().any(-1)).sum(1).tolist()
    of_pool = f"of {counted(votes.shape[1], 'pool row')}"
    return [f"{VOTER}{p}: {n:,} {of_pool}" for p, n in zip(paths, asked, strict=True)]


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
    return _placed(path, ids, classes, caller=caller, owner=owner, several=several)[0]


def _placed(
    path: Path, ids: np.ndarray, classes: list[str], *, caller: str, owner: str,
    several: bool = False,
) -> tuple[np.ndarray, list[str]]:  # fmt: skip
    """Returns what `probabilities_of` does, and the ids of the file that are none of `ids`."""
    where = f"{caller}: {path}"
    named, theirs, given = _read(path, where)
    if sorted(theirs) != sorted(classes):
        raise RunError(
            f"{where} has the classes {_names(theirs)}, {owner} has {_names(classes)}; they "
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
            f"{where} does not hold probabilities: the row of "
            f"'{shown(named[int(wrong.argmax())])}' "
            f"{rule} (is it logits?)"
        )
    at = np.array([place.get(str(name), -1) for name in ids])
    if not (at >= 0).any():
        raise RunError(f"{where} has none of the utterance ids of {owner}, such as {shown(ids[0])}")
    order = [theirs.index(c) for c in classes]
    known = np.zeros(len(named), dtype=bool)
    known[at[at >= 0]] = True
    strangers = [named[i] for i in np.flatnonzero(~known)]
    return np.where((at >= 0)[:, None], given[at][:, order], np.nan), strangers


def _names(classes: Sequence[str]) -> str:
    return listed([shown(name, 40) for name in classes])


def _arrays(path: Path, where: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns ids, classes and probs of an .npz, whose sizes are checked before it is inflated."""
    from models.encoders.array_files import Archive, ArrayError, explained

    names = ("ids", "classes", "probs")
    try:
        with explained(path), Archive(path) as held:
            missing = [name for name in names if name not in held.shapes]
            if missing:
                raise ArrayError(f"lacks {', '.join(missing)}; {LACKS}")
            ids, classes, probs = (held.read(name) for name in names)
    except ArrayError as error:
        raise RunError(f"{where} {error}") from None
    if probs.dtype.kind not in "fiub" or ids.ndim != 1 or classes.ndim != 1:
        raise RunError(
            f"{where}: probs must hold numbers, ids and classes one name a row, got {probs.dtype} "
            f"and shapes {ids.shape} and {classes.shape}"
        )
    return ids, classes, probs.astype(np.float64)


def _frame(path: Path) -> pd.DataFrame:
    """Returns a file's table; ids are text, '007' too."""
    import pandas as pd

    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    return pd.read_csv(path, dtype={"id": str})


def _read(path: Path, where: str) -> tuple[list[str], list[str], np.ndarray]:
    """Returns ids, classes and (n, C) probabilities of a file."""
    if not path.is_file():
        raise RunError(f"{where}: no such file of probabilities")
    if path.suffix == ".npz":
        ids, classes, probs = _arrays(path, where)
        if probs.shape != (len(ids), len(classes)):
            raise RunError(
                f"{where}: probs must be {(len(ids), len(classes))} for its ids and classes, "
                f"got {probs.shape}"
            )
        known = ~np.isnan(probs).any(1)
        names = [composed(str(i)) for i in ids[known]]
        return names, [composed(str(c)) for c in classes], probs[known]
    if path.suffix not in (".csv", ".parquet"):
        raise RunError(f"{where}: probabilities are read from .npz, .csv and .parquet only")
    with reading(path, "a file of probabilities", LACKS):
        table = _frame(path).rename(columns=unguarded)
    columns = [c for c in table.columns if str(c).startswith("p_")]
    if "id" not in table or not columns:
        raise RunError(f"{where} lacks {'id' if 'id' not in table else 'p_<class>'}; {LACKS}")
    table = table.dropna(subset=columns)
    ids = [composed(unguarded(name)) for name in table["id"].astype(str).tolist()]
    with reading(path, "a file of probabilities", "p_<class> columns hold numbers"):
        return ids, [composed(c[2:]) for c in columns], table[columns].to_numpy(dtype=np.float64)
