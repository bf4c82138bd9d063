"""Principal components, fitted once on training rows."""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK = 8192  # rows taken into float64 at once


def principal(values: Tensor, keep: int) -> tuple[Tensor, float]:
    """Returns the first principal axes (D, P) and the factor that makes their mean variance 1.

    One factor, not whitening: what varies little would otherwise become as loud as the rest. Each
    axis points to where its largest entry is positive, so that a refit gives the same signs.
    """
    n, dims = values.shape
    keep = min(keep, dims, n)
    if n >= dims:
        square = torch.zeros(dims, dims, dtype=torch.float64)
        for chunk in values.split(CHUNK):
            square.addmm_(chunk.double().T, chunk.double())
        power, axes = torch.linalg.eigh(square)  # ascending; columns are axes
    else:
        x = values.double()
        power, left = torch.linalg.eigh(x @ x.T)
        axes = torch.nn.functional.normalize(x.T @ left, dim=0)
    axes, power = axes.flip(1)[:, :keep], power.flip(0)[:keep]  # (D, P), (P,)
    largest = axes.gather(0, axes.abs().argmax(dim=0, keepdim=True))
    axes = axes * torch.where(largest < 0, -1.0, 1.0)
    variance = float(power.clamp(min=0).mean()) / n
    return axes.float().contiguous(), max(variance, 1e-12) ** -0.5
