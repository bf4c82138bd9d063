"""What becomes of the tokens that are not kept: five pure functions, METHODS by name.

Each takes the tokens of a padded batch and how many each utterance keeps (host integers, so no
step waits for the device) and returns the shorter batch. Letters: B batch, N tokens before,
K tokens after, D features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from .scores import rounded
from .to_device import before, host_rows


@dataclass
class MergeStep:
    """One shortening of a padded batch."""

    hidden: torch.Tensor  # (B, K, D); what lies on padding means nothing
    sizes: torch.Tensor  # (B, K) float32, frames each token stands for, 0 on padding
    group: torch.Tensor  # (B, N) int64, the new token of each old one; padding points at K - 1


@dataclass
class Method:
    """A way to shorten, and the score it ranks by."""

    apply: Callable[..., MergeStep]
    score: str  # importance (B, N) | similarity (B, N - 1) | none
    weighted: bool  # True: tokens stand for several frames; False: the dropped ones are forgotten


def merge(
    hidden: torch.Tensor,
    sizes: torch.Tensor,
    lengths: list[int],
    keep: list[int],
    score: torch.Tensor,
) -> MergeStep:
    """Returns the batch with its most similar neighbours averaged, weighted by their sizes.

    The n - keep most similar adjacent pairs of an utterance are joined (A-ToMe,
    https://arxiv.org/abs/2306.16009; `score` is (B, N - 1)), but no run grows long: of every
    stretch of s boundaries the least similar is never joined, s being the smallest that leaves
    enough. For keep rates of 1/2 and more s is 2, and a token joins the more similar of its
    neighbours. Without this, half of Whisper's frames fall into a few long runs, and the
    utterance's vector moves three times as far (benchmarks/prune_fidelity.py).
    """
    device, width = hidden.device, max(keep)
    stretch = [(n - 1) // k + 1 for n, k in zip(lengths, keep, strict=True)]
    whole = [(n - 1) // s * s for n, s in zip(lengths, stretch, strict=True)]
    ends, kept, size, last = host_rows([lengths, keep, stretch, whole], device)
    protected = _protected(score, size[:, None], last[:, None])
    ranked = rounded(score).masked_fill(protected, float("-inf"))
    rank = ranked.masked_fill(~before(ends - 1, score.shape[1]), float("-inf"))
    rank = rank.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    joined = rank < (ends - kept)[:, None]  # (B, N - 1)
    group = torch.nn.functional.pad((~joined).long().cumsum(1), (1, 0)).clamp(max=width - 1)
    return _average(hidden, sizes, group, width)


def topk_merge(
    hidden: torch.Tensor,
    sizes: torch.Tensor,
    lengths: list[int],
    keep: list[int],
    score: torch.Tensor,
) -> MergeStep:
    """Returns the most important tokens, each averaged with the dropped ones nearest in time."""
    ends, kept = host_rows([lengths, keep], score.device)
    index, mask = _top(score, ends, kept, max(keep))
    group = _nearest(index, mask, hidden.shape[1])
    return _average(hidden, sizes, group, index.shape[1])


def topk(
    hidden: torch.Tensor,
    sizes: torch.Tensor,
    lengths: list[int],
    keep: list[int],
    score: torch.Tensor,
) -> MergeStep:
    """Returns the most important tokens in the order of time; the others are forgotten."""
    ends, kept = host_rows([lengths, keep], score.device)
    index, mask = _top(score, ends, kept, max(keep))
    return _gather(hidden, index, mask)


def fuse(
    hidden: torch.Tensor,
    sizes: torch.Tensor,
    lengths: list[int],
    keep: list[int],
    score: torch.Tensor,
) -> MergeStep:
    """Returns the most important tokens and, last, one token averaged over all the others.

    EViT's fused token (https://arxiv.org/abs/2202.07800), normalised: weighted by importance and
    as heavy as what it replaces. It is one of the `keep` tokens.
    """
    device, (_, old, _) = hidden.device, hidden.shape
    # An untouched row has no fused token.
    alone = [k - (k < n) for n, k in zip(lengths, keep, strict=True)]
    ends, total, few = host_rows([lengths, keep, alone], device)
    index, mask = _top(score, ends, few, max(alone))
    width = max(keep)
    valid = before(ends, old)
    # Column `old` collects what `index` holds on padding.
    kept = torch.zeros(len(keep), old + 1, dtype=torch.bool, device=device)
    kept = kept.scatter(1, torch.where(mask, index, old), True)[:, :old]
    rank = kept.long().cumsum(1) - 1
    last = total[:, None] - 1  # (B, 1): where the fused token goes
    group = torch.where(kept, rank, last)
    group = torch.where(valid, group, width - 1)
    # Inside a kept token's group of one the weight cancels; in the fused group it is importance.
    weight = torch.where(kept, torch.ones_like(score), score.clamp(min=1e-9)) * valid
    step = _average(hidden, weight, group, width)
    return MergeStep(step.hidden, _sum(sizes * valid, group, width), group)


def stride(
    hidden: torch.Tensor,
    sizes: torch.Tensor,
    lengths: list[int],
    keep: list[int],
    score: torch.Tensor | None = None,
) -> MergeStep:
    """Returns tokens at even distances: the baseline that every other method must beat."""
    device, width = hidden.device, max(keep)
    number = torch.arange(width, device=device)[None]
    many, few = host_rows([lengths, keep], device)[..., None]
    index = (2 * number + 1) * many // (2 * few)  # middles of `few` equal pieces
    return _gather(hidden, index.clamp(max=hidden.shape[1] - 1), number < few)


METHODS: dict[str, Method] = {
    "merge": Method(merge, "similarity", weighted=True),
    "topk_merge": Method(topk_merge, "importance", weighted=True),
    "topk": Method(topk, "importance", weighted=False),
    "fuse": Method(fuse, "importance", weighted=True),
    "stride": Method(stride, "none", weighted=False),
}


def _protected(score: torch.Tensor, size: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    """Returns (B, N - 1) bool: the least similar boundary of every whole stretch.

    Of equally similar ones it is the last. `size` (B, 1) is the length of a row's stretches,
    `whole` (B, 1) where the last whole one ends.
    """
    count = score.shape[1]
    position = torch.arange(count, device=score.device)[None]
    # Padding may hold anything; it belongs to no whole stretch.
    key = rounded(score).masked_fill(position >= whole, 0).long()
    key = key * (count + 1) - position  # unique: equal scores fall with time
    number = (position // size).expand_as(key)
    least = torch.zeros_like(key).scatter_reduce(1, number, key, "amin", include_self=False)
    return (key == least.gather(1, number)) & (position < whole)


def _top(
    score: torch.Tensor, ends: torch.Tensor, keep: torch.Tensor, most: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns (B, K) positions of the highest scores in the order of time, and their mask.

    Equal scores: the earlier token stays. Rows have `ends` (B,) tokens and keep `keep` (B,) of
    them, `most` at most.
    """
    old, width = score.shape[1], max(most, 1)
    ranked = rounded(score).masked_fill(~before(ends, old), float("-inf"))
    order = ranked.argsort(dim=1, descending=True, stable=True)[:, :width]
    mask = before(keep, width)
    index = torch.where(mask, order, old).sort(dim=1).values
    return index.clamp(max=old - 1), mask


def _nearest(index: torch.Tensor, mask: torch.Tensor, old: int) -> torch.Tensor:
    """Returns (B, N): for each position the number of the kept token nearest in time.

    A position half-way between two goes to the earlier one.
    """
    kept = index.masked_fill(~mask, 4 * old).contiguous()
    time = torch.arange(old, device=index.device)[None].expand(len(index), old).contiguous()
    after = torch.searchsorted(kept, time).clamp(max=index.shape[1] - 1)
    before = (after - 1).clamp(min=0)
    to_before = (time - kept.gather(1, before)).abs()
    return torch.where(to_before <= (kept.gather(1, after) - time).abs(), before, after)


def _gather(hidden: torch.Tensor, index: torch.Tensor, mask: torch.Tensor) -> MergeStep:
    """Returns the tokens at `index`, each of size 1, and the nearest of them for every frame."""
    taken = hidden.gather(1, index[..., None].expand(-1, -1, hidden.shape[2]))
    return MergeStep(taken, mask.float(), _nearest(index, mask, hidden.shape[1]))


def _average(
    hidden: torch.Tensor, weight: torch.Tensor, group: torch.Tensor, width: int
) -> MergeStep:
    """Returns the weighted mean of every group; sums run in float32. Padding has weight 0."""
    total = _sum(weight, group, width)  # (B, K)
    # Padding may hold anything, infinities included, so it is blanked and not multiplied by 0.
    weighted = hidden.float().masked_fill(weight[..., None] == 0, 0) * weight[..., None]
    merged = hidden.new_zeros(len(hidden), width, hidden.shape[2], dtype=torch.float32)
    merged = merged.scatter_add(1, group[..., None].expand_as(weighted), weighted)
    merged = merged / torch.where(total > 0, total, 1.0)[..., None]
    return MergeStep(merged.to(hidden.dtype), total, group)


def _sum(values: torch.Tensor, group: torch.Tensor, width: int) -> torch.Tensor:
    """Returns (B, K) sums of (B, N) values over groups."""
    return values.new_zeros(len(values), width).scatter_add(1, group, values)
