"""What is missing, dealt into shards: it follows from the items alone, whoever draws it up."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

SHARD_ITEMS = 1024


@dataclass
class Plan:
    """The missing items in shards of similar work, each sorted by length."""

    keys: np.ndarray  # (K,) S64 in the order of work
    rows: np.ndarray  # (K,) int64, a row of the table that has each item
    sizes: np.ndarray  # (K,) float64
    bounds: np.ndarray  # (S + 1,) int64, where shards begin
    name: str  # follows from the contents

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def items(self, shard: int) -> slice:
        """Returns where a shard's items stand in the arrays."""
        return slice(int(self.bounds[shard]), int(self.bounds[shard + 1]))


def make_plan(keys: np.ndarray, rows: np.ndarray, sizes: np.ndarray, budget: float) -> Plan:
    """Deals items into shards of at most `budget` (in the unit of sizes) and SHARD_ITEMS items."""
    order = np.lexsort((keys, sizes))
    keys, rows, sizes = keys[order], rows[order], sizes[order]
    bounds = cut(sizes, budget, SHARD_ITEMS)
    digest = hashlib.sha256(keys.tobytes() + sizes.tobytes() + bounds.tobytes()).hexdigest()
    return Plan(keys, rows, sizes, bounds, digest[:16])


def cut(sizes: np.ndarray, budget: float, most: int) -> np.ndarray:
    """Returns the bounds of consecutive runs that stay within a budget and a number of items."""
    bounds, total = [0], 0.0
    for i, size in enumerate(sizes):
        if i > bounds[-1] and (total + size > budget or i - bounds[-1] >= most):
            bounds.append(i)
            total = 0.0
        total += size
    return np.array([*bounds, len(sizes)] if len(sizes) else [0], np.int64)
