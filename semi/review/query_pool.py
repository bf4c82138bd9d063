"""The rows of a pool that somebody could be asked about, as acquisition rules see them.

Letters: P pool rows, n gold rows, C classes, G chains, M modalities, D features.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass
class QueryPool:
    """What is known of the rows, and of gold beside them; all tensors on the CPU."""

    probs: Tensor  # (P, C) of the model that ships; of several labels each within 0 and 1
    features: Tensor  # (P, D) all modalities in one space of equal say
    gold_features: Tensor  # (n, D) in the same space
    gold_count: Tensor  # (C,) float, gold rows of each class
    group: Tensor  # (P,) int64 speaker, or other group
    tie: Tensor  # (P,) int64 hashes of the ids
    cost: Tensor  # (P,) > 0, what it takes to label a row: 1, or its seconds
    chains: Tensor | None = None  # (G, P, C) what the models of each fold say
    by_modality: Tensor | None = None  # (M, P, C) what each modality says alone
    present: Tensor | None = None  # (P, M) bool, which modalities a row has
    flips: Tensor | None = None  # (P,) how often the label changed from round to round
    multi: bool = False  # several labels a row

    def __len__(self) -> int:
        return len(self.probs)

    def at(self, rows: Tensor) -> QueryPool:
        """Returns some of the rows (k,), in their order."""
        first = {name: getattr(self, name) for name in ("present", "flips")}
        second = {name: getattr(self, name) for name in ("chains", "by_modality")}
        return replace(
            self,
            probs=self.probs[rows],
            features=self.features[rows],
            group=self.group[rows],
            tie=self.tie[rows],
            cost=self.cost[rows],
            **{k: None if v is None else v[rows] for k, v in first.items()},
            **{k: None if v is None else v[:, rows] for k, v in second.items()},
        )


def seeded_order(tie: Tensor, seed: int) -> Tensor:
    """Returns the rows (P,) in an order that means nothing and that seed and ids alone decide."""
    import numpy as np

    # splitmix64, https://doi.org/10.1145/2660193.2660195: neighbouring seeds share no order
    with np.errstate(over="ignore"):
        x = tie.numpy().astype(np.uint64) + np.uint64(seed + 1) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return torch.from_numpy(np.argsort(x ^ (x >> np.uint64(31)), kind="stable"))
