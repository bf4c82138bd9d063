"""How much a speech token matters, from the queries and keys of one attention layer.

Letters: B batch, H heads, N tokens, d head width, D model width. Scores are float32 whatever the
model's precision, so that bf16 and fp32 runs keep the same tokens as far as possible.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

# Scores are rounded to this grid before they are ranked: frames that are equal in exact arithmetic
# (digital silence) differ by rounding otherwise, and which of them stays would hang on batch mates.
GRID = 2.0**14


def attention_received(
    q: torch.Tensor, k: torch.Tensor, sizes: torch.Tensor, *, chunk: int = 256
) -> torch.Tensor:
    """Returns (B, N): how much attention each token receives, the mean over heads of column sums.

    ``s_j = (1/H) sum_h sum_i m_i A_ij`` with ``A = softmax_j(q_i k_j / sqrt(d) + log m_j)``. One
    chunk of queries at a time, so the N x N matrix never exists. Per utterance the scores sum to
    its number of frames; padding gets 0. The log-sum-exp of a fused kernel, called a second time
    with queries and keys swapped, gives the same (tests/test_pruning.py) and took 2.7 times as long
    on a CPU.

    Args:
        q: (B, H, N, d) queries, not yet scaled.
        k: (B, H, N, d) keys.
        sizes: (B, N) float32, frames each token stands for; 0 marks padding.
        chunk: queries a step; the memory is B x H x chunk x N floats.
    """
    return _received(q, k, sizes, chunk).mean(1)


def value_weighted_received(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    out_weight: torch.Tensor,
    sizes: torch.Tensor,
    *,
    chunk: int = 256,
) -> torch.Tensor:
    """Returns (B, N): attention received, weighted by how much each token's value contributes.

    ``s_j = (1/H) sum_h |v_j^h W_O^h| sum_i m_i A_ij`` (norm-based analysis,
    https://arxiv.org/abs/2004.10102).

    Args:
        q: (B, H, N, d) queries.
        k: (B, H, N, d) keys.
        v: (B, H, N, d) values.
        out_weight: (D, H * d) weight of the attention's output projection.
        sizes: (B, N) float32, frames each token stands for; 0 marks padding.
        chunk: queries a step.
    """
    _, heads, _, width = q.shape
    per_head = out_weight.float().view(-1, heads, width).permute(1, 0, 2)  # (H, D, d)
    # |v W|^2 = v (W W^T) v: the Gram matrix is d x d, the product v W would be D wide.
    gram = per_head.transpose(1, 2) @ per_head  # (H, d, d)
    value = v.float()
    norm = ((value @ gram) * value).sum(-1).clamp(min=0).sqrt()  # (B, H, N)
    return (_received(q, k, sizes, chunk) * norm).mean(1)


def neighbour_similarity(k: torch.Tensor) -> torch.Tensor:
    """Returns (B, N - 1): cosine of the head-averaged keys of each token and the next.

    The score of A-ToMe (https://arxiv.org/abs/2306.16009); it needs no attention at all.
    """
    mean = F.normalize(k.float().mean(1), dim=-1)  # (B, N, d)
    return (mean[:, :-1] * mean[:, 1:]).sum(-1)


def rounded(score: torch.Tensor) -> torch.Tensor:
    """Returns the scores on a coarse grid, so that ties of exact arithmetic are ties here too."""
    return (score * GRID).round()


def _received(q: torch.Tensor, k: torch.Tensor, sizes: torch.Tensor, chunk: int) -> torch.Tensor:
    """Returns (B, H, N) column sums of the attention, each query counted as often as its size."""
    bias = sizes.log()[:, None, None, :]  # (B, 1, 1, N): -inf on padding
    keys = k.float().transpose(-1, -2) / math.sqrt(q.shape[-1])  # (B, H, d, N)
    total = torch.zeros(k.shape[:-1], dtype=torch.float32, device=k.device)
    for start in range(0, q.shape[2], chunk):
        part = slice(start, start + chunk)
        attention = (q[:, :, part].float() @ keys + bias).softmax(-1)  # (B, H, chunk, N)
        total = total + (sizes[:, None, None, part] @ attention)[:, :, 0]
    return total
