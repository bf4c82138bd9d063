"""Rows of all processes in one tensor, so that contrastive terms see the whole batch."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def gather_with_grad(rows: Tensor) -> Tensor:
    """Returns the rows (W * B, ...) of all W processes, rank 0 first, with gradients to each.

    Every process computes the same loss of all rows; summed over the processes its gradient
    reaches each row W times, which the mean that DistributedDataParallel takes of the parameters'
    gradients undoes. So W processes equal one that has the whole batch. Without a process group
    the rows come back as they are. Every process must bring the same number of rows.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return rows
    return _Gather.apply(rows)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.count = len(rows)
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        whole = gradients[0].contiguous().clone()
        dist.all_reduce(whole)
        first = dist.get_rank() * ctx.count
        return whole[first : first + ctx.count]
