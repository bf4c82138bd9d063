"""The packed layout: the valid tokens of all rows end to end, so that no layer computes padding.

Norms and linear maps treat every token alone; only attention must know where a row begins and ends.
On a GPU that is torch's variable-length kernel (torch >= 2.10, bf16 or fp16), which takes no bias:
once tokens of different size weigh the attention the batch goes on padded. Anywhere else each row
is attended by itself, which is exact and slow, and lets the layout be tested on a CPU.
Letters: B batch, N tokens of the padded batch, T tokens in all, D features, H heads, d head width.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

import torch
from torch.nn import functional as F

from .to_device import host_tensor


@dataclass
class Packing:
    """Where the tokens of each row lie in a packed batch; all host integers, so nothing waits."""

    lengths: list[int]  # (B,) tokens of each row
    width: int  # N
    device: torch.device

    @cached_property
    def index(self) -> torch.Tensor:
        """Position (T,) of every packed token in the flat padded batch."""
        spans = [range(b * self.width, b * self.width + n) for b, n in enumerate(self.lengths)]
        return host_tensor([i for span in spans for i in span], self.device)

    @cached_property
    def ends(self) -> torch.Tensor:
        """Returns (B + 1,) int32: where each row begins, and the end."""
        return host_tensor([0, *accumulate(self.lengths)], self.device).to(torch.int32)

    def pack(self, padded: torch.Tensor) -> torch.Tensor:
        """Returns (1, T, D) of (B, N, D)."""
        return padded.flatten(0, 1).index_select(0, self.index)[None]

    def unpack(self, packed: torch.Tensor) -> torch.Tensor:
        """Returns (B, N, D) of (1, T, D), zeros on padding."""
        rows = len(self.lengths)
        flat = packed.new_zeros(rows * self.width, packed.shape[-1])
        return flat.index_copy(0, self.index, packed[0]).unflatten(0, (rows, self.width))

    def unpack_heads(self, packed: torch.Tensor) -> torch.Tensor:
        """Returns (B, H, N, d) of (1, H, T, d)."""
        heads = packed.shape[1]
        padded = self.unpack(packed.transpose(1, 2).flatten(2))  # (B, N, H d)
        return padded.unflatten(2, (heads, -1)).transpose(1, 2)


def varlen_kernel(device: torch.device, dtype: torch.dtype) -> Any:
    """Returns torch's variable-length attention where it runs, else None."""
    if device.type != "cuda" or dtype not in (torch.bfloat16, torch.float16):
        return None
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:  # torch < 2.10
        return None
    return varlen_attn


def attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, packing: Packing, dropout: float = 0.0
) -> torch.Tensor:
    """Returns (1, H, T, d): every token attends to the tokens of its own row (all (1, H, T, d))."""
    kernel = varlen_kernel(q.device, q.dtype)
    if kernel is not None and not dropout:
        flat = [x[0].transpose(0, 1).contiguous() for x in (q, k, v)]  # (T, H, d)
        longest = max(packing.lengths)
        mixed = kernel(*flat, packing.ends, packing.ends, longest, longest)
        return mixed.transpose(0, 1)[None]
    rows = zip(*(x.split(packing.lengths, dim=2) for x in (q, k, v)), strict=True)
    parts = [F.scaled_dot_product_attention(*row, dropout_p=dropout) for row in rows]
    return torch.cat(parts, dim=2)
