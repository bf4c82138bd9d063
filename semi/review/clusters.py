"""k-means and nearest distances of many rows, a block of rows at a time.

Letters: P rows, n other rows, D features, K clusters.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

BLOCK = 4096  # rows that are compared with all others at once
STEPS = 20  # of Lloyd's algorithm at most


def nearest_distance(x: Tensor, others: Tensor) -> Tensor:
    """Returns the distance (P,) of rows (P, D) to the nearest of others (n, D); 1 without any."""
    if not len(others):
        return torch.ones(len(x), dtype=x.dtype)
    return torch.cat([torch.cdist(block, others).amin(1) for block in x.split(BLOCK)])


def k_means(x: Tensor, clusters: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Returns the cluster (P,) of each row and the centres (K, D), K <= clusters.

    Lloyd's algorithm from k-means++ (Arthur and Vassilvitskii 2007); a cluster that empties keeps
    its centre.
    """
    centers = _plus_plus(x, clusters, generator)
    code = torch.full((len(x),), -1)
    for _ in range(STEPS):
        before = code
        code = torch.cat([torch.cdist(block, centers).argmin(1) for block in x.split(BLOCK)])
        if torch.equal(code, before):
            break
        size = torch.bincount(code, minlength=len(centers))
        total = torch.zeros_like(centers).index_add_(0, code, x)
        centers = torch.where(size[:, None] > 0, total / size[:, None].clamp(min=1), centers)
    return code, centers


def _plus_plus(x: Tensor, clusters: int, generator: Generator) -> Tensor:
    """Returns starting centres (K, D), far from each other; fewer where rows are alike."""
    first = int(torch.randint(len(x), (1,), generator=generator))
    taken, distance = [first], (x - x[first]).square().sum(1)
    while len(taken) < clusters and bool((distance > 0).any()):
        chance = torch.empty_like(distance).exponential_(generator=generator)
        row = int((distance / chance).argmax())  # drawn in proportion to the distance
        taken.append(row)
        torch.minimum(distance, (x - x[row]).square().sum(1), out=distance)
    return x[torch.tensor(taken)]
