"""A self-training dataset as tensors on one device: features, gold, pool, folds. No files.

Letters: N utterances, M modalities, C classes, n gold rows, P pool rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from ..features.tensors import Vectors
from .committee import Committee
from .outside_voters import OutsideVoters, fit_outside_voters

MANY_ROWS = 131_072  # above, what looks at some rows alone is given a dataset of those alone


@dataclass
class Dataset:
    """Everything a round reads; built from a manifest, from arrays, or by the benchmark."""

    ids: np.ndarray  # (N,) str
    # modality -> (N, D_m), standardised, zeros where missing; or (N, T, D_m), NaN = no frame
    values: Mapping[str, Vectors]
    present: Tensor  # (N, M) bool
    target: Tensor  # (N, C) gold distribution (several labels: 0 or 1) on gold rows, else zeros
    label: Tensor  # (N,) int64 true class where known, also HIDDEN gold; -1 unknown. Reports only.
    gold: Tensor  # (n,) int64 rows whose labels may be learned from
    pool: Tensor  # (P,) int64 rows to pseudo-label
    dev: Tensor  # int64 rows, reports only
    test: Tensor  # int64 rows, reports only
    fold: Tensor  # (n,) int64 out-of-fold part of each gold row
    group: np.ndarray  # (N,) speaker or other group of each row
    classes: list[str]
    group_kind: str = ""  # what the groups are: speaker, session, dialogue or none; "" unknown
    external: Tensor | None = None  # (V, N, C) probabilities of voters from anywhere else
    affect: Tensor | None = None  # (N, 2) valence and arousal, NaN unknown; hidden ones for reports
    multi: Tensor | None = (
        None  # (N, C) 0 or 1 for several labels a row, NaN unknown. Reports only.
    )
    committee: Committee | None = None  # teaches the first round, where models were compared
    # modality -> parts of equal width that lie side by side in it (layers); one where not named
    blocks: dict[str, int] = field(default_factory=dict)
    # modality -> (N, k), every row on the axes of linear models, once they are learned
    seen: dict[str, Tensor] | None = None

    _codes: tuple[np.ndarray, Tensor] | None = field(
        default=None, init=False, repr=False, compare=False
    )
    _folds: tuple[Tensor, int] | None = field(default=None, init=False, repr=False, compare=False)
    _tie: tuple[Tensor, Tensor] | None = field(default=None, init=False, repr=False, compare=False)
    _outside: tuple[Tensor, Tensor, OutsideVoters] | None = field(
        default=None, init=False, repr=False, compare=False
    )

    @property
    def dims(self) -> dict[str, int]:
        """Width of each modality."""
        return {m: v.shape[-1] for m, v in self.values.items()}

    @property
    def folds(self) -> int:
        """Number of out-of-fold parts K; there are K + 1 chains."""
        if self._folds is None or self._folds[0] is not self.fold:
            self._folds = (self.fold, int(self.fold.max()) + 1)  # the host waits for it once
        return self._folds[1]

    @property
    def device(self) -> torch.device:
        """Where all tensors lie."""
        return self.present.device

    def outside(self) -> OutsideVoters | None:
        """Returns the voters from anywhere else, calibrated for each chain; None without them."""
        if self.external is None:
            return None
        if self._outside is None or self._outside[0] is not self.external or (
            self._outside[1] is not self.fold
        ):  # fmt: skip
            fitted = fit_outside_voters(self.external, self.gold, self.label[self.gold], self.fold)
            self._outside = (self.external, self.fold, fitted)
        return self._outside[2]

    def prior(self) -> Tensor:
        """Returns the (C,) Laplace-smoothed class shares of the gold rows."""
        count = self.target[self.gold].sum(0) + 1.0
        return count / count.sum()

    def tie(self) -> Tensor:
        """Returns (P,) int64 fixed hashes of the pool's ids: ties never depend on row order."""
        if self._tie is not None and self._tie[0] is self.pool:
            return self._tie[1]
        self._tie = (self.pool, self.hashed(self.pool))
        return self._tie[1]

    def at(self, rows: Tensor) -> Dataset:
        """Returns the dataset of some rows (r,), each once; the others are of no side any more.

        A gold row that is left out leaves its part of the folds, so `rows` has all of them.
        """
        place = torch.full((len(self.present),), -1, device=self.device)
        place[rows] = torch.arange(len(rows), device=self.device)
        sides = {k: place[getattr(self, k)] for k in ("gold", "pool", "dev", "test")}
        if bool((sides["gold"] < 0).any()):
            raise ValueError("the rows must hold all gold rows")
        picked = {k: getattr(self, k) for k in ("affect", "multi")}
        where = rows.cpu().numpy()
        return replace(
            self, ids=self.ids[where], group=self.group[where], present=self.present[rows],
            values={m: v[rows] for m, v in self.values.items()},
            target=self.target[rows], label=self.label[rows],
            **{k: v[v >= 0] for k, v in sides.items()},
            **{k: None if v is None else v[rows] for k, v in picked.items()},
            external=None if self.external is None else self.external[:, rows],
            committee=None if self.committee is None else self.committee.at(place),
            seen=None if self.seen is None else {m: v[rows] for m, v in self.seen.items()},
        )  # fmt: skip

    def hashed(self, rows: Tensor) -> Tensor:
        """Returns (len(rows),) int64 hashes of the ids of `rows`: an order that means nothing."""
        from pandas.util import hash_array

        ids = self.ids[rows.cpu().numpy()].astype(object)
        hashed = hash_array(ids, categorize=False)  # pyright: ignore[reportCallIssue]
        return torch.from_numpy((hashed >> np.uint64(1)).astype(np.int64)).to(self.device)

    def some(self, rows: Tensor, most: int) -> Tensor:
        """Returns `rows` (r,), or of more than `most` those of the smallest hashes of their ids."""
        if len(rows) <= most:
            return rows
        return self.by_hash(rows)[:most]

    def by_hash(self, rows: Tensor) -> Tensor:
        """Returns `rows` (r,) in the order of the hashes of their ids."""
        return rows[self.hashed(rows).argsort()]

    def group_code(self, rows: Tensor) -> Tensor:
        """Returns (len(rows),) int64 codes of the groups of `rows`."""
        if self._codes is None or self._codes[0] is not self.group:
            codes = np.unique(self.group, return_inverse=True)[1]
            self._codes = (self.group, torch.from_numpy(codes.astype(np.int64)).to(self.device))
        return self._codes[1][rows]


def build_dataset(ids, features, splits, classes: list[str], device: str) -> Dataset:
    """Returns the dataset of a manifest's rows with standardised features and drawn splits.

    Args:
        ids: (N,) utterance ids.
        features: semi.features.Features of all N rows.
        splits: semi.data Splits of the same rows.
        classes: label order.
        device: "cpu" or "cuda".
    """
    where = {
        role: torch.from_numpy(np.flatnonzero(splits.role == role)).to(device)
        for role in ("labeled", "pool", "dev", "test")
    }
    gold = where["labeled"]
    target = torch.zeros(len(ids), len(classes))
    target[gold.cpu()] = torch.from_numpy(np.asarray(splits.target, dtype=np.float32))[gold.cpu()]
    return Dataset(
        ids=np.asarray(ids, dtype=str),
        values={m: v.to(device) for m, v in features.values.items()},
        present=features.present.to(device),
        target=target.to(device),
        label=torch.from_numpy(np.asarray(splits.label, dtype=np.int64)).to(device),
        gold=gold,
        pool=where["pool"],
        dev=where["dev"],
        test=where["test"],
        fold=torch.from_numpy(np.asarray(splits.fold, dtype=np.int64)).to(device)[gold],
        group=np.asarray(splits.group, dtype=str),
        classes=list(classes),
        group_kind=splits.group_kind,
    )
