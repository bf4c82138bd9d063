"""Contrast by class: within a modality and across modalities (the idea of LMR-CL, all anchors)."""

from __future__ import annotations

import torch
from torch import Tensor

from ..losses.contrastive import supcon
from .output import FusionOutput


def supervised_terms(
    output: FusionOutput,
    label: Tensor,
    present: Tensor,
    row_weight: Tensor | None = None,
    *,
    classes: int | None = None,
    tau: float = 0.1,
) -> dict[str, Tensor]:
    """Returns the losses "intra" (same modality) and, of 2 or more modalities, "inter". VMAP.

    Where the model has private and shared vectors, "intra" takes both and "inter" the shared
    ones; otherwise the embeddings. `label` (B,) int, -1 = unlabelled; `present` (B, M). With
    `classes` every class counts alike.
    """
    names = list(output.embeddings)
    there = present.transpose(0, 1)  # (M, B)
    if "shared" in output.extra:
        across = output.extra["shared"].transpose(0, 1)  # (M, B, H)
        within = torch.cat([output.extra["private"].transpose(0, 1), across])
        within_there = torch.cat([there, there])
    else:
        across = within = torch.stack([output.embeddings[name] for name in names])
        within_there = there
    intra = supcon(
        within,
        within,
        label,
        tau,
        intra=True,
        classes=classes,
        valid=within_there,
        weight=row_weight,
    )
    losses = {"intra": intra.mean()}
    ij = [(i, j) for i in range(len(names)) for j in range(len(names)) if i != j]
    if ij:
        losses["inter"] = supcon(
            torch.stack([across[i] for i, _ in ij]),
            torch.stack([across[j] for _, j in ij]),
            label,
            tau,
            classes=classes,
            valid=torch.stack([there[i] & there[j] for i, j in ij]),
            weight=row_weight,
        ).mean()
    return losses
