"""Private and shared vectors: what only one modality says, and what they all say.

The private/shared model of LMR-CL with its gate.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..heads import PerModality, Wide
from ..losses.disentangle import difference, moments
from ..losses.reduce import row_weight as to_weight
from .base import Fusion
from .gated import Gate
from .output import FusionOutput


class PrivateShared(Fusion):
    """One private encoder a modality and one shared encoder, gated and concatenated.

    The vectors lie in (-1, 1): bounded, as the moment discrepancy wants them, and with cosines of
    either sign (sigmoids would make every cosine positive).
    """

    moment_order = 3

    def build(self) -> None:
        """Makes private and shared encoders, the gate and the two layers over 2 M vectors."""
        many, width = len(self.names), self.config.hidden
        self.private = PerModality(many, width, width)
        self.shared = Wide(width, width)
        self.build_mix(many, width)
        self.fused_width = width

    def build_mix(self, many: int, width: int) -> None:
        """Makes what turns the 2 M vectors into one."""
        self.gate = Gate(many, 2 * width)
        self.mix = Wide(2 * many * width, width)

    def fuse(self, h: Tensor, present: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the fused vector (B, H), and private and shared vectors (B, M, H)."""
        x = F.layer_norm(h, h.shape[-1:])
        private, shared = torch.tanh(self.private(x)), torch.tanh(self.shared(x))  # (M, B, H)
        fused, extra = self.combine(private, shared, present)
        extra |= {"private": private.transpose(0, 1), "shared": shared.transpose(0, 1)}
        return fused, extra

    def combine(
        self, private: Tensor, shared: Tensor, present: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns GELU(W [gated private and shared vectors]) (B, H)."""
        both = torch.where(present, torch.cat([private, shared], -1), 0.0)  # (M, B, 2 H)
        rows = self.gate(both).transpose(0, 1).flatten(1)
        return self.drop(F.gelu(self.mix(rows))), {}

    def auxiliary(
        self,
        output: FusionOutput,
        inputs: dict[str, Tensor],
        present: Tensor,
        row_weight: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Returns "difference" (private apart from shared and each other) and "moments".

        Both already times `auxiliary_weight` of the config.
        """
        private, shared = output.extra["private"], output.extra["shared"]  # (B, M, H)
        many = private.shape[1]
        weight = to_weight(private[:, 0, 0], row_weight)
        apart = [
            difference(private[:, i], shared[:, i], to_weight(weight, weight, present[:, i]))
            for i in range(many)
        ]
        alike: list[Tensor] = []
        for i in range(many):
            for j in range(i + 1, many):
                w = to_weight(weight, weight, present[:, i] & present[:, j])
                apart.append(difference(private[:, i], private[:, j], w))
                alike.append(moments(shared[:, i], shared[:, j], w, order=self.moment_order))
        losses = {"difference": self.config.auxiliary_weight * torch.stack(apart).sum()}
        if alike:
            losses["moments"] = self.config.auxiliary_weight * torch.stack(alike).mean()
        return losses
