"""Many frames into one vector: exact moments over the valid frames, and joining those of pieces.

Letters: B batch, T frames, D features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass
class Moments:
    """Mean and variance of some frames, and how many frames they stand for."""

    count: torch.Tensor  # (B,) float32 frames
    mean: torch.Tensor  # (B, D) float32
    variance: torch.Tensor  # (B, D) float32, divided by the count (not by count - 1)


def masked_moments(
    x: torch.Tensor, weight: torch.Tensor | None = None, *, variance: bool = True
) -> Moments:
    """Returns the moments of `x` (B, T, D) over its frames, in float32.

    `weight` (B, T) is the number of frames each token stands for, 0 on padding; None counts every
    token once. What lies on padding never enters, not even as 0 x inf. Without `variance` that
    field is zeros.
    """
    x = x.float()
    weight = x.new_ones(x.shape[:2]) if weight is None else weight.float()
    valid = (weight > 0).unsqueeze(-1)  # (B, T, 1)
    count = weight.sum(1)  # (B,)
    share = (weight / count.clamp(min=1e-9).unsqueeze(1)).unsqueeze(-1)  # (B, T, 1)
    zero = x.new_zeros(())
    mean = (torch.where(valid, x, zero) * share).sum(1)  # (B, D)
    if not variance:
        return Moments(count, mean, torch.zeros_like(mean))
    offset = torch.where(valid, x - mean.unsqueeze(1), zero)
    return Moments(count, mean, (offset.square() * share).sum(1))


def join_moments(parts: list[Moments]) -> Moments:
    """Returns the moments of all frames of several pieces together (each field stacked alike)."""
    if len(parts) == 1:
        return parts[0]
    count = torch.stack([p.count for p in parts])  # (P, B)
    share = (count / count.sum(0).clamp(min=1e-9)).unsqueeze(-1)  # (P, B, 1)
    means = torch.stack([p.mean for p in parts])  # (P, B, D)
    mean = (share * means).sum(0)
    within = torch.stack([p.variance for p in parts])
    variance = (share * (within + (means - mean).square())).sum(0)
    return Moments(count.sum(0), mean, variance)


def moments_by_row(layers: list[Moments]) -> list[Moments]:
    """Returns each row's moments, (L,) and (L, D) on the host, from those of L layers; one copy."""
    every = [torch.cat([m.count[:, None], m.mean, m.variance], 1) for m in layers]
    table = torch.stack(every, 1).cpu()  # (B, L, 1 + 2 D)
    width = layers[0].mean.shape[1]
    return [Moments(row[:, 0], *row[:, 1:].split(width, 1)) for row in table]


def vector(moments: Moments, pooling: str) -> torch.Tensor:
    """Returns (B, D) for `mean`, (B, 2 D) for `mean_std` (standard deviation over the frames)."""
    if pooling == "mean":
        return moments.mean
    if pooling == "mean_std":
        return torch.cat([moments.mean, moments.variance.sqrt()], dim=-1)
    raise ValueError(f"pooling must be one of mean, mean_std, got {pooling!r}")


def combine_layers(layers: torch.Tensor, combine: str) -> torch.Tensor:
    """Returns (B, L, D) as (B, D) for mean and sum, (B, L * D) for concat, as is for others."""
    if combine == "mean":
        return layers.mean(1)
    if combine == "sum":
        return layers.sum(1)
    if combine == "concat":
        return layers.flatten(1)
    if combine in ("views", "joined"):
        return layers
    raise ValueError(f"combine must be one of mean, sum, concat, views, joined, got {combine!r}")
