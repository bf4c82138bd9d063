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


class Wide(nn.Linear):
    """nn.Linear that trains faster where members are stacked by `torch.func.vmap`.

    It computes W x^T and not x W^T: the gradient of W then comes in the layout of W and is not
    copied, and members that share their rows share one matrix product. In eval() it is nn.Linear.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Returns x W^T + b for `x` (..., inputs)."""
        if not self.training:
            return super().forward(x)
        rows = x.flatten(0, -2)
        return (self.weight @ rows.T).T.unflatten(0, x.shape[:-1]) + self.bias
