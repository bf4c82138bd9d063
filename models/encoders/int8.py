"""Linear layers on 8-bit integers, on a CPU: a scale for each token and each output.

One scale for a whole activation, as torch's dynamic quantisation has it, is spoilt by the few
numbers of a transformer that are a hundred times the others (https://arxiv.org/abs/2208.07339).
Letters: T tokens, D inputs, O outputs.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

LEAST_COSINE = 0.99  # mean centred cosine to float32, below which vectors are not to be used
TINY = 1e-9  # a scale of nothing but zeros
M = TypeVar("M", bound=nn.Module)


class Int8Linear(nn.Module):
    """A linear layer whose product is of 8-bit integers; for inference."""

    def __init__(self, plain: nn.Linear) -> None:
        super().__init__()
        weight = plain.weight.detach()
        scale = weight.abs().amax(1, keepdim=True).clamp(min=TINY) / 127  # (O, 1)
        self.quantised = (weight / scale).round().to(torch.int8).t().contiguous()  # (D, O)
        self.scale = scale.t()  # (1, O)
        self.weight, self.bias = plain.weight, plain.bias  # pruners and some models read them

    @torch.no_grad()
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns (..., O) of (..., D)."""
        flat = x.flatten(0, -2)
        scale = flat.abs().amax(-1, keepdim=True).clamp(min=TINY) / 127  # (T, 1)
        whole = (flat / scale).round().to(torch.int8)
        product = torch.ops.aten._int_mm(whole, self.quantised)
        out = product.float() * scale * self.scale
        return (out if self.bias is None else out + self.bias).unflatten(0, x.shape[:-1])


def quantised(model: M) -> M:
    """Returns the float32 model, every linear layer in it replaced."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Linear):
                setattr(module, name, Int8Linear(child))
    return model
