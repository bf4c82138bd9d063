"""The vectors that a model decides by: what a projector shows of rows.

Letters: R rows, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call

from models.fusion.config import ON_AXES
from models.fusion.linear import coordinates

from .ensemble import Ensemble


@torch.no_grad()
def fused_vectors(ensemble: Ensemble, values: dict[str, Tensor], present: Tensor) -> Tensor:
    """Returns the fused vector (R, D) of each row by the last member, which learned from all gold.

    A linear student has none before its scores: of it the coordinates of each row on the principal
    axes of all views, side by side, zeros where the row lacks a view.

    Args:
        ensemble: the members.
        values: modality -> (R, D_m) or (R, T, D_m) frames.
        present: (R, M) bool.
    """
    inputs = {name: values[name] for name in ensemble.dims}
    if ensemble.config.kind in ON_AXES:
        return torch.cat(list(coordinates(inputs, present, ensemble.params).values()), 1)
    state = {k: v[-1] for k, v in {**ensemble.params, **ensemble.buffers}.items()}
    return functional_call(ensemble.template.eval(), state, (inputs, present)).fused
