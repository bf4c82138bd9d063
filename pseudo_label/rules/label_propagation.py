"""Label propagation on a nearest-neighbour graph that is kept from finding speakers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from ..pool import CONSTANT, ISOLATED, Pool, Selection, decide, nothing
from .soft_allocation import certainty


@dataclass
class PropagationConfig:
    """Numbers of the rule label_propagation."""

    k: int = 50
    """Neighbours of a row."""
    gamma: float = 3.0
    """Edge weight = cosine ** gamma."""
    alpha: float = 0.99
    """How far labels travel: solves (I - alpha W) Z = Y."""
    iterations: int = field(default=20, metadata=CONSTANT)
    """Conjugate gradient steps."""
    center: bool = field(default=True, metadata=CONSTANT)
    """Subtract each speaker's mean feature first (where speakers are known)."""
    same_speaker: float = field(default=0.5, metadata=CONSTANT)
    """At most this share of a row's neighbours may come from its own speaker."""
    chunk: int = field(default=2048, metadata=CONSTANT)
    """Rows whose similarities are in memory at once."""

    def __post_init__(self):
        if self.k < 1:
            raise ValueError(f"k must be at least 1, got {self.k}")
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha must be in (0, 1), got {self.alpha}")
        if not 0 <= self.same_speaker <= 1:
            raise ValueError(f"same_speaker must be in [0, 1], got {self.same_speaker}")


class _Reads(Protocol):
    """What the rule reads of the settings."""

    label_propagation: PropagationConfig


def label_propagation(pool: Pool, config: _Reads) -> Selection:
    """Takes the rows that labels reach over the graph, weight 1 - H(z) / log C over its maximum.

    https://arxiv.org/abs/1904.04717. Gold rows are the sources, each class with total mass 1.
    """
    gold = pool.gold
    if pool.features is None or gold is None or gold.features is None or not len(gold.label):
        raise ValueError(
            "rule 'label_propagation' needs pool.features and pool.gold with features and labels"
        )
    if not len(pool):
        return nothing(pool)
    numbers = config.label_propagation
    order = pool.tie.argsort(stable=True)  # equal cosines must not be decided by the row order
    features = torch.cat([gold.features, pool.features[order]]).float()
    speaker = _speakers(pool, order)
    if numbers.center:
        features = center(features, speaker)
    rows, columns, values = graph(features, speaker, numbers)
    source = torch.zeros(len(features), pool.probs.shape[1], device=features.device)
    here = torch.arange(len(gold.label), device=features.device)
    source[here, gold.label] = 1.0
    source = source / source.sum(0).clamp(min=1)
    z = propagate(rows, columns, values, source, numbers.alpha, numbers.iterations)
    z = z[len(gold.label) :].clamp(min=0)[order.argsort()]
    total = z.sum(1, keepdim=True)
    reached = total[:, 0] > 0
    share = torch.where(reached[:, None], z / total.clamp(min=1e-30), torch.ones_like(z))
    share = share / share.sum(1, keepdim=True)
    sure = torch.where(reached, certainty(share), torch.zeros_like(total[:, 0]))
    weight = sure / sure.max().clamp(min=1e-12)
    return decide(
        pool,
        reached,
        ISOLATED,
        label=share.argmax(1),
        weight=weight.to(pool.probs.dtype),
        threshold=torch.zeros_like(pool.prior),
    )


def center(features: Tensor, speaker: Tensor) -> Tensor:
    """Returns features minus the mean of their speaker; unknown speakers (-1) share one mean."""
    group = speaker - speaker.min()
    count = torch.bincount(group).clamp(min=1)
    zero = features.new_zeros(len(count), features.shape[1])
    mean = zero.index_add(0, group, features) / count[:, None]
    return features - mean[group]


def graph(
    features: Tensor, speaker: Tensor, config: PropagationConfig
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns edges (row, column, cosine ** gamma) to the k nearest rows, at most N * k of them.

    Of the k places at most same_speaker * k go to rows of the same known speaker.
    """
    count = len(features)
    x = torch.nn.functional.normalize(features, dim=1)
    k = min(config.k, count - 1)
    own_places = int(config.same_speaker * k + 1e-9)
    rows, columns, values = [], [], []
    for begin in range(0, count, config.chunk):
        end = min(begin + config.chunk, count)
        here = torch.arange(begin, end, device=x.device)
        cosine = x[begin:end] @ x.T  # (chunk, N)
        cosine[here - begin, here] = -torch.inf
        own = (speaker[begin:end, None] == speaker) & (speaker[begin:end, None] >= 0)
        mine = cosine.masked_fill(~own, -torch.inf).topk(min(own_places, count), dim=1)
        theirs = cosine.masked_fill(own, -torch.inf).topk(min(k, count), dim=1)
        best, place = torch.cat([mine.values, theirs.values], 1).topk(k, dim=1)
        rows.append(here[:, None].expand_as(place).reshape(-1))
        columns.append(torch.cat([mine.indices, theirs.indices], 1).gather(1, place).reshape(-1))
        values.append(best.reshape(-1))
    row, column, value = torch.cat(rows), torch.cat(columns), torch.cat(values)
    kept = value > 0  # negative cosines and the fill value carry nothing
    return row[kept], column[kept], value[kept] ** config.gamma


def propagate(
    rows: Tensor, columns: Tensor, values: Tensor, source: Tensor, alpha: float, steps: int
) -> Tensor:
    """Returns Z of (I - alpha W) Z = Y, W = D^-1/2 (A + A^T) D^-1/2, by conjugate gradients.

    All classes at once: one sparse product a step. float64, so the order of rows does not matter.
    """
    count = len(source)
    edge = torch.stack([torch.cat([rows, columns]), torch.cat([columns, rows])])
    weight = torch.cat([values, values]).double()
    degree = torch.zeros(count, dtype=torch.float64, device=source.device)
    degree = degree.index_add(0, edge[0], weight)
    scale = torch.where(degree > 0, degree.clamp(min=1e-30).rsqrt(), torch.zeros_like(degree))
    weight = weight * scale[edge[0]] * scale[edge[1]]
    w = torch.sparse_coo_tensor(edge, weight, (count, count), check_invariants=False).coalesce()
    y = source.double()
    z, residual = torch.zeros_like(y), y.clone()
    direction, size = residual.clone(), (residual**2).sum(0)
    for _ in range(steps):
        image = direction - alpha * torch.sparse.mm(w, direction)
        step = size / (direction * image).sum(0).clamp(min=1e-30)
        z = z + step * direction
        residual = residual - step * image
        after = (residual**2).sum(0)
        direction = residual + after / size.clamp(min=1e-30) * direction
        size = after
    return torch.where(z.abs() > 1e-15, z, torch.zeros_like(z)).float()


def _speakers(pool: Pool, order: Tensor) -> Tensor:
    gold = pool.gold
    assert gold is not None
    unknown = torch.full_like(gold.label, -1)
    mine = torch.full_like(pool.tie, -1) if pool.group is None else pool.group[order]
    return torch.cat([unknown if gold.group is None else gold.group, mine])
