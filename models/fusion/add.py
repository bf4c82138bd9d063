"""Element-wise sum of the embeddings of present modalities."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import Fusion


class Add(Fusion):
    """Sum over present modalities; a missing one adds nothing."""

    def build(self) -> None:
        """Makes nothing: the encoders already map every modality to one width."""
        self.fused_width = self.config.hidden

    def fuse(self, h: Tensor, present: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns sum_m h_m (B, H)."""
        return torch.where(present, h, 0.0).sum(0), {}
