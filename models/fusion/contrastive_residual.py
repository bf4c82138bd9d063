"""Linear scores on principal axes and, beside them, a small branch whose vectors are contrasted.

Its linear part is that of `Linear`; where the branch's last layer is zero the two say the same, so
training can begin at a solution in closed form and need not find it by steps.

Letters: B batch, k components, H hidden, C classes, M modalities, P projection. VMAP.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..heads import Wide
from .base import framewise_mean
from .config import FusionConfig
from .contrastive import GROUPS
from .linear import Linear, View
from .output import FusionOutput


class ContrastiveResidual(Linear):
    """logits(x) = prior + sum over present views of z_m L_m + b_m + drop(GELU(z_m A_m + a_m)) B_m.

    z_m = (x_m - center_m) basis_m are a view's coordinates; center and basis are learned without
    labels and stay as they are. One projector for all views makes of each GELU(...) the vector that
    is contrasted: view with view, and clean with noisy.
    """

    contrasts = True
    knows_affect = False

    def __init__(self, config: FusionConfig, dims: dict[str, int], classes: int) -> None:
        super().__init__(config, dims, classes)
        self.project = Wide(config.hidden, config.projection)
        self.log_scale = nn.Parameter(torch.zeros(len(GROUPS)))

    def view_of(self, width: int) -> ResidualView:
        """Returns the numbers of a view of so many columns."""
        return ResidualView(width, self.config, self.classes)

    def forward(
        self,
        inputs: dict[str, Tensor],
        present: Tensor,
        masks: dict[str, Tensor] | None = None,
    ) -> FusionOutput:
        """Returns scores of `inputs` name -> (B, D) or (B, T, D) frames, under `present` (B, M)."""
        logits = self.prior.expand(present.shape[0], -1)
        alone, embeddings, heard = {}, {}, self.heard(present)
        for i, (name, view) in enumerate(zip(self.names, self.views, strict=True)):
            here = present[:, i, None]
            # what stands in for a missing value may be NaN: it never enters
            x = torch.where(here, framewise_mean(name, inputs, masks), 0.0)
            both, embeddings[name] = view(x)
            both = torch.where(here, both, 0.0)
            logits = logits + torch.where(heard[:, i, None], both[:, : self.classes], 0.0)
            alone[name] = self.prior + both[:, self.classes :]
        shared = self.project(torch.stack(list(embeddings.values()), 1))  # (B, M, P)
        projections = {"shared": shared, "log_scale": self.log_scale}
        return FusionOutput(logits, alone, embeddings, fused=logits, projections=projections)


class ResidualView(View):
    """A view's linear numbers and its branch, whose last layer is 0 at first."""

    def __init__(self, width: int, config: FusionConfig, classes: int) -> None:
        components, hidden = min(config.components, width), config.hidden
        super().__init__(width, components, classes)
        self.center.requires_grad_(False)
        self.basis.requires_grad_(False)
        self.dropout = config.dropout
        self.inner = nn.Parameter(torch.randn(components, hidden) / components**0.5)
        self.inner_bias = nn.Parameter(torch.zeros(hidden))
        self.outer = nn.Parameter(torch.zeros(hidden, 2 * classes))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (B, 2 C) scores beside other views, then alone, and the vector (B, H)."""
        z = (x - self.center) @ self.basis
        h = F.gelu(z @ self.inner + self.inner_bias)
        linear = z @ torch.cat([self.joint, self.own], 1)
        bias = torch.cat([self.joint_bias, self.own_bias])
        return linear + bias + F.dropout(h, self.dropout, self.training) @ self.outer, h
