"""Layers that serve every modality in one matrix product."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class PerModality(nn.Module):
    """M linear layers of equal shape as one batched product: (M, B, D) -> (M, B, H)."""

    def __init__(self, modalities: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)  # the start of torch's own linear layer
        weight = torch.empty(modalities, inputs, outputs).uniform_(-bound, bound)
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.empty(modalities, 1, outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """Returns x @ weight + bias, modality by modality."""
        return x @ self.weight + self.bias
