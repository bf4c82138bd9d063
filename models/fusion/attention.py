"""Attention over modalities: a weighted mean whose weights depend on the utterance."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ..heads import Wide
from .base import Fusion, masked_softmax


class Attention(Fusion):
    """Weights from all embeddings together, softmaxed over the modalities that are present."""

    def build(self) -> None:
        """Makes the scorer: one hidden layer over the concatenation, one score a modality."""
        many, width = len(self.names), self.config.hidden
        self.look = Wide(many * width, width)
        self.score = nn.Linear(width, many)
        self.fused_width = width

    def fuse(self, h: Tensor, present: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns sum_m a_m h_m (B, H) and the weights a (B, M)."""
        rows = h.transpose(0, 1).flatten(1)  # (B, M H)
        score = self.score(F.gelu(self.look(rows))).transpose(0, 1)[..., None]  # (M, B, 1)
        share = masked_softmax(score, present, 0)
        return (share * h).sum(0), {"attention": share[..., 0].transpose(0, 1)}
