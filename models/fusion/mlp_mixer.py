"""MLP-Mixer over modalities (https://arxiv.org/abs/2105.01601)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import Fusion


class Mixer(nn.Module):
    """One layer: mix across a row's modalities, then across the dimensions of each."""

    def __init__(self, many: int, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.tokens = nn.Sequential(nn.Linear(many, 4 * many), nn.GELU(), nn.Linear(4 * many, many))
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Returns mixed `x` (B, M, H)."""
        x = x + self.tokens(self.norm_1(x).transpose(1, 2)).transpose(1, 2)
        inner = F.dropout(F.gelu(self.up(self.norm_2(x))), self.dropout, self.training)
        return x + self.down(inner)


class MlpMixer(Fusion):
    """Mixer layers over the embeddings of a row, then their mean over present modalities."""

    def build(self) -> None:
        """Makes the mixer layers."""
        config = self.config
        self.mixers = nn.ModuleList(
            Mixer(len(self.names), config.hidden, config.dropout) for _ in range(config.layers)
        )
        self.fused_width = config.hidden

    def fuse(self, h: Tensor, present: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the mean of mixed embeddings (B, H); missing ones mix as learned vectors."""
        x = h.transpose(0, 1)  # (B, M, H)
        for mixer in self.mixers:
            x = mixer(x)
        there = present.transpose(0, 1)
        total = torch.where(there, x, 0.0).sum(1)
        return F.layer_norm(total / there.sum(1).clamp(min=1), total.shape[-1:]), {}
