"""Product of embeddings through low-rank factors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..heads import PerModality
from .base import Fusion


class LowRank(Fusion):
    """LMF: the tensor product through factors of low rank (https://arxiv.org/abs/1806.00064)."""

    def build(self) -> None:
        """Makes one factor (H + 1, R x H) a modality; the added 1 is the layer's bias."""
        config = self.config
        self.factor = PerModality(len(self.names), config.hidden, config.rank * config.hidden)
        self.rank_weight = nn.Parameter(torch.full((config.rank, 1), config.rank**-0.5))
        self.fused_width = config.hidden

    def fuse(self, h: Tensor, present: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns sum_r w_r prod_m [h_m; 1] W_mr (B, H); a missing modality multiplies by 1."""
        factor = torch.where(present, self.factor(h), 1.0).prod(0)  # (B, R H)
        fused = (factor.unflatten(-1, (self.config.rank, -1)) * self.rank_weight).sum(-2)
        return self.drop(F.layer_norm(fused, fused.shape[-1:])), {}
