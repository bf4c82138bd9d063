"""Gated concatenation: every modality is scaled dimension by dimension, given all of them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..heads import PerModality, Wide
from .base import Fusion


class Gate(nn.Module):
    """sigmoid(W2 ReLU(W1 [x_1; ...; x_M])) per modality, through a bottleneck of H / 16."""

    def __init__(self, modalities: int, width: int) -> None:
        super().__init__()
        narrow = max(width // 16, 4)
        self.down = Wide(modalities * width, modalities * narrow)
        self.up = PerModality(modalities, narrow, width)

    def forward(self, x: Tensor) -> Tensor:
        """Returns gated `x` (M, B, H)."""
        many, rows, _ = x.shape
        narrow = F.relu(self.down(x.transpose(0, 1).flatten(1)))  # (B, M N)
        narrow = narrow.view(rows, many, -1).transpose(0, 1)  # (M, B, N)
        return x * torch.sigmoid(self.up(narrow))


class Gated(Fusion):
    """Gate, then one hidden layer over the concatenation."""

    def build(self) -> None:
        """Makes the gate and the layer over the concatenation."""
        many, width = len(self.names), self.config.hidden
        self.gate = Gate(many, width)
        self.mix = Wide(many * width, width)
        self.fused_width = width

    def fuse(self, h: Tensor, present: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns GELU(W [g_1 h_1; ...; g_M h_M]); a missing modality is its learned vector."""
        rows = self.gate(h).transpose(0, 1).flatten(1)  # (B, M H)
        return self.drop(F.gelu(self.mix(rows))), {}
