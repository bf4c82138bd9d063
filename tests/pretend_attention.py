"""Attention of the pretend GPU: one kernel where nothing is differentiated, as it is on CUDA."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import torch
from pretend_tensor import Mismatch, PretendTensor, place
from torch.utils._python_dispatch import _disable_current_modes


def attention_stand_ins() -> list[tuple[Any, str, Callable]]:
    """Returns owner, name and stand-in of the attention kernels."""
    found: list[tuple[Any, str, Callable]] = [
        (torch.nn.functional, "scaled_dot_product_attention", _padded())
    ]
    try:
        from torch.nn.attention import varlen
    except ImportError:  # torch < 2.10
        return found
    return [*found, (varlen, "varlen_attn", _packed)]


def _padded() -> Callable:
    real = torch.nn.functional.scaled_dot_product_attention

    @functools.wraps(real)
    def attention(query, key, value, attn_mask=None, *args, **kwargs):
        given = [x for x in (query, key, value, attn_mask) if x is not None]
        ours = [isinstance(x, PretendTensor) for x in given]
        if not any(ours) or torch.is_grad_enabled():
            return real(query, key, value, attn_mask, *args, **kwargs)
        if not all(ours):
            raise Mismatch(f"cuda:0 and cpu in attention ({place()})")
        PretendTensor.work.launch()
        rows: list[Any] = [None if x is None else x.data_ for x in (query, key, value, attn_mask)]
        with torch._C.DisableTorchFunction(), _disable_current_modes():
            return PretendTensor(real(*rows, *args, **kwargs))

    return attention


def _packed(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k):
    """Attends within each of the rows that lie end to end, (T, H, d) each, as varlen_attn does."""
    given = (query, key, value, cu_seq_q, cu_seq_k)
    if not all(isinstance(x, PretendTensor) for x in given):
        raise Mismatch(f"cuda:0 and cpu in attention ({place()})")
    if query.dtype not in (torch.bfloat16, torch.float16) or cu_seq_q.dtype != torch.int32:
        raise RuntimeError("FlashAttention only supports fp16 and bf16, and int32 ends")
    PretendTensor.work.launch()
    q, k, v, ends, _ = (x.data_ for x in given)
    bounds = ends.tolist()
    assert bounds[-1] == len(q) and max_q == max_k == max(ends.diff().tolist())
    with torch._C.DisableTorchFunction(), _disable_current_modes():
        parts = [
            torch.nn.functional.scaled_dot_product_attention(
                *(x[first:last].transpose(0, 1) for x in (q, k, v))
            ).transpose(0, 1)
            for first, last in itertools.pairwise(bounds)
        ]
        return PretendTensor(torch.cat(parts))
