"""Principal components, fitted once on training rows."""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK = 8192  # rows taken into float64 at once
SKETCH = 2048  # beyond as many rows and columns, axes are found by a random sketch
OVERSAMPLE, PASSES = 16, 2  # of the sketch: spare directions, power iterations


def principal(values: Tensor, keep: int) -> tuple[Tensor, float]:
    """Returns the first principal axes (D, P) and the factor that makes their mean variance 1.

    One factor, not whitening: what varies little would otherwise become as loud as the rest. Each
    axis points to where its largest entry is positive, so that a refit gives the same signs.
    """
    n, dims = values.shape
    keep = min(keep, dims, n)
    if min(n, dims) > SKETCH and keep + OVERSAMPLE <= SKETCH // 4:
        axes, power = _sketched(values, keep)
        return _signed(axes), _factor(power, n)
    if n >= dims:
        square = torch.zeros(dims, dims, dtype=torch.float64, device=values.device)
        for chunk in values.split(CHUNK):
            square.addmm_(chunk.double().T, chunk.double())
        power, axes = torch.linalg.eigh(square)  # ascending; columns are axes
    else:
        x = values.double()
        power, left = torch.linalg.eigh(x @ x.T)
        axes = torch.nn.functional.normalize(x.T @ left, dim=0)
    axes, power = axes.flip(1)[:, :keep], power.flip(0)[:keep]  # (D, P), (P,)
    return _signed(axes), _factor(power, n)


def _signed(axes: Tensor) -> Tensor:
    largest = axes.gather(0, axes.abs().argmax(dim=0, keepdim=True))
    return (axes * torch.where(largest < 0, -1.0, 1.0)).float().contiguous()


def _factor(power: Tensor, rows: int) -> float:
    variance = float(power.clamp(min=0).mean()) / rows
    return max(variance, 1e-12) ** -0.5


def _sketched(values: Tensor, keep: int) -> tuple[Tensor, Tensor]:
    """Returns axes (D, P) and their powers by randomised subspace iteration.

    https://arxiv.org/abs/0909.4061, algorithm 4.4: the exact eigenvectors of thousands of columns
    cost minutes, these seconds. The sketch's seed is fixed, so a refit gives the same axes.
    """
    generator = torch.Generator().manual_seed(0)
    x = values.float()
    basis = torch.randn(x.shape[1], keep + OVERSAMPLE, generator=generator).to(
        x
    )  # on the CPU's generator: the same everywhere
    for _ in range(PASSES):
        basis = torch.linalg.qr(x.T @ torch.linalg.qr(x @ basis)[0])[0]
    _, sizes, turn = torch.linalg.svd(x @ basis, full_matrices=False)
    return (basis @ turn.T)[:, :keep], sizes[:keep].double() ** 2
