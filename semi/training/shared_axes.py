"""Axes stretched along what modalities share: contrast between modalities in closed form, no steps.

Both parts of a pair (speech and its words) tell the same emotion, so what two modalities have in
common over the whole pool is where emotion lies. A discriminant that shrinks its covariance
believes most in the longest axes. Letters: n rows, M views, k components of a view.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from models.fusion.linear import coordinates

from ..features.tensors import Vectors

NOISE = 1.0
"""Variance of the noisy twins that pairs must be told from, in mean variances of a component.

It keeps a view from being whitened, which costs 2 to 12 points, and chance from looking shared.
"""


def shared_axes(
    values: Mapping[str, Vectors], present: Tensor, rows: Tensor, axes: dict[str, Tensor], by: float
) -> dict[str, Tensor]:
    """Returns the axes with each view's turned by I + by * sum_j K_j K_j'; no label is read.

    K_j = (S + s I)^-1/2 C_j (S_j + s_j I)^-1/2 holds the correlations (k, k_j) of a view with
    another over the rows that have both, those of canonical correlation analysis between noisy
    twins, less where pairs are few. Scaled so that a view's components keep a mean square of 1.

    Args:
        values: name -> (N, D) or (N, T, D) frames.
        present: (N, M) bool.
        rows: (n,) rows to learn from.
        axes: what `principal_start` returned.
        by: how far; 0 changes nothing.
    """
    seen = coordinates(values, present, axes)
    here, x = present[rows], [v[rows].double() for v in seen.values()]
    half = [_inverse_root(x[i][here[:, i]]) for i in range(len(x))]
    turned = dict(axes)
    for i, mine in enumerate(x):
        turn = torch.eye(mine.shape[1], dtype=mine.dtype, device=mine.device)
        for j, other in enumerate(x):
            both = here[:, i] & here[:, j]
            if i == j:
                continue
            pairs = int(both.sum())  # of few, much looks shared by chance
            common = half[i] @ mine[both].T @ other[both] @ half[j] / (pairs + mine.shape[1])
            turn = turn + by * common @ common.T
        size = (mine @ turn).square().sum().div(max(1, int(here[:, i].sum())) * len(turn)).sqrt()
        basis = axes[f"views.{i}.basis"]
        turned[f"views.{i}.basis"] = basis @ (turn / torch.where(size > 0, size, 1.0)).to(basis)
    return turned


def _inverse_root(x: Tensor) -> Tensor:
    """Returns (S + NOISE mean(diag S) I)^-1/2 (k, k) of rows (n, k) around 0."""
    square = x.T @ x / max(1, len(x))
    eye = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    power, turn = torch.linalg.eigh(
        square + NOISE * square.diagonal().mean().clamp(min=1e-12) * eye
    )
    return turn * power.rsqrt() @ turn.T
