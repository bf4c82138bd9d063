"""The principal axes of each view, and a dataset's rows on them: what linear models look at.

Letters: N rows, M views, D features, k components.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from models.fusion.linear import coordinates

from ..features.principal import is_sketched, principal_axes
from ..features.tensors import Vectors
from .dataset import Dataset

AXES_ROWS = 3072  # rows that axes in thousands of dimensions are learned from


def principal_start(
    values: Mapping[str, Vectors], present: Tensor, rows: Tensor, components: int,
    blocks: dict[str, int] | None = None,
) -> dict[str, Tensor]:  # fmt: skip
    """Returns the middle (1, D) and axes (1, D, k) of every view by name; no label is read.

    Scaled so that a view's components have mean square 1 over `rows`: views weigh alike. Of a view
    with thousands of columns the first AXES_ROWS of `rows` are read, so give them in an order that
    means nothing. Of 15,030 rows x 3,000 columns of three made-up spectra (two fall fast, one is
    nearly flat) such axes catch 99, 98 and 90 % of the variance that the best 50 axes do; a sketch
    of all rows by subspace iteration, at five times the cost, 99, 98 and 90 % as well.

    Args:
        values: name -> (N, D) or (N, T, D) frames.
        present: (N, M) bool.
        rows: (n,) rows to learn from.
        components: k.
        blocks: name -> parts of equal width whose axes are joined; see `joined_axes`.
    """
    learned = {}
    for i, (name, value) in enumerate(values.items()):
        mine = rows[present[rows, i]]
        dims, parts = value.shape[-1], (blocks or {}).get(name, 1)
        width = min(components, dims)
        if is_sketched(len(mine), dims // parts, width):
            mine = mine[:AXES_ROWS]
        x = averaged(value[mine])
        center = x.mean(0) if len(x) else x.new_zeros(dims)
        x = x.sub_(center)
        axes = torch.eye(dims, width, device=x.device)
        if len(x) > 1:
            axes = joined_axes(x, width, parts)
        learned[f"views.{i}.center"], learned[f"views.{i}.basis"] = center[None], axes[None]
    return learned


def joined_axes(x: Tensor, width: int, parts: int = 1) -> Tensor:
    """Returns axes (D, width) of centred rows (n, D); on them rows have a mean square of 1.

    The principal axes. Of several parts (layers of one encoder, side by side) each is put on its
    own axes first, scaled to a mean square of 1 and never whitened; the axes are then those of all
    parts together, so that one covariance knows how layers vary beside each other. Fewer rows than
    `width`: the last axes stay empty.
    """
    found = [_unit_axes(part, width) for part in x.chunk(parts, 1)]
    if parts == 1:
        return found[0]
    together = torch.cat(
        [part @ own for part, own in zip(x.chunk(parts, 1), found, strict=True)], 1
    )
    turn = _unit_axes(together, width)  # (parts * width, width)
    return torch.cat([own @ t for own, t in zip(found, turn.chunk(parts), strict=True)])


def _unit_axes(x: Tensor, width: int) -> Tensor:
    """Returns the principal axes (D, width), by one factor such that rows have mean square 1."""
    found, power = principal_axes(x, width)
    axes = x.new_zeros(x.shape[1], width)
    axes[:, : found.shape[1]] = found.to(axes)
    size = (power.clamp(min=0).sum() / (len(x) * width)).sqrt().to(axes)
    return axes / torch.where(size > 0, size, 1.0)


def averaged(value: Tensor) -> Tensor:
    """Returns (N, D), sequences (N, T, D) averaged over their frames (NaN = no frame)."""
    return value.nanmean(1).nan_to_num() if value.dim() == 3 else value


def on_axes(dataset: Dataset, learned: dict[str, Tensor]) -> Dataset:
    """Returns the dataset with rows on the axes of `learned` in place of their values.

    Linear models learn and teach on these, and are widened afterwards (`Ensemble.from_axes`).
    """
    seen = dataset.seen
    if seen is None:
        axes = {k: v.to(dataset.device) for k, v in learned.items()}
        seen = coordinates(dataset.values, dataset.present, axes)
    return replace(dataset, values=seen, seen=seen)
