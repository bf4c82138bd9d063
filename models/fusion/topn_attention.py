"""Attention over the few best of many feature sets, row by row."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..heads import PerModality, Wide
from .base import Fusion, masked_softmax


class TopN(Fusion):
    """Attention that lets only the best-scored few of many feature sets through, row by row.

    Made for many encoders side by side (the challenge baseline's top-n runs); each set is scored
    by itself, so the scorer does not grow with their number.
    """

    def build(self) -> None:
        """Makes one scorer a feature set, and a layer that mixes what came through."""
        self.score = PerModality(len(self.names), self.config.hidden, 1)
        self.mix = Wide(self.config.hidden, self.config.hidden)
        self.fused_width = self.config.hidden

    def fuse(self, h: Tensor, present: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the layer over sum_m a_m h_m (B, H) and the weights a (B, M)."""
        score = self.score(torch.tanh(h))  # (M, B, 1)
        ranked = score.masked_fill(~present, -torch.inf).detach()
        least = ranked.topk(min(self.config.top, len(self.names)), dim=0).values[-1:]
        share = masked_softmax(score, present & (ranked >= least), 0)
        fused = self.drop(F.gelu(self.mix((share * h).sum(0))))
        return fused, {"attention": share[..., 0].transpose(0, 1)}
