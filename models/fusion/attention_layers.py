"""Attention inside one row (B, T, H): pre-norm blocks, padding masked in keys. VMAP."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import masked_softmax


class Block(nn.Module):
    """Pre-norm transformer block; keys and values come from `source`, or from the input itself."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm_q, self.norm_kv = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, mask: Tensor, source: Tensor | None = None) -> Tensor:
        """Returns `x` (B, T, H) after attention to the tokens of `mask` (B, S) and an MLP."""
        source = x if source is None else source
        q = self._split(self.query(self.norm_q(x)))  # (B, heads, T, H / heads)
        key, value = self.key_value(self.norm_kv(source)).chunk(2, -1)
        score = q @ self._split(key).transpose(-1, -2) / math.sqrt(q.shape[-1])
        share = masked_softmax(score, mask[:, None, None, :], -1)  # (B, heads, T, S)
        seen = (share @ self._split(value)).transpose(1, 2).flatten(2)  # (B, T, H)
        x = x + F.dropout(self.out(seen), self.dropout, self.training)
        inner = F.gelu(self.up(self.norm(x)))
        return x + F.dropout(self.down(inner), self.dropout, self.training)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def positions(frames: int, width: int, like: Tensor) -> Tensor:
    """Returns sinusoidal positions (T, H), by place in the sequence and not by its content."""
    place = torch.arange(frames, device=like.device)[:, None]
    rate = torch.exp(
        torch.arange(0, width, 2, device=like.device) * (-math.log(10_000.0) / max(width, 1))
    )
    angle = place * rate  # (T, H / 2)
    return torch.cat([angle.sin(), angle.cos()], -1)[:, :width].to(like.dtype)
