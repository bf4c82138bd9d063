"""Agreement of several views of a row: modalities, ensemble members, an external voter."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from ..pool import Gold, Pool, Selection, unknown
from .class_topk import class_topk

MODES = ("off", "soft", "hard", "k_of_n")
VIEWS = ("modalities", "members", "external")


@dataclass
class AgreementConfig:
    """How the views of a row must agree before any rule sees it."""

    mode: str = "off"
    """off | soft (average the views' probabilities) | hard (all name one class) | k_of_n."""
    k: int = 2
    """k_of_n: how many views, the fused one included, must name the fused class."""
    over: list[str] = field(default_factory=lambda: ["modalities"])
    """Which views vote beside the fused one: modalities, members, external."""
    margin: float = 0.0
    """A modality votes only if its out-of-fold accuracy beats the majority class by this much."""

    def __post_init__(self):
        if self.mode not in MODES:
            raise ValueError(unknown("mode", self.mode, MODES))
        if self.k < 1:
            raise ValueError(f"k must be at least 1, got {self.k}")
        for view in self.over:
            if view not in VIEWS:
                raise ValueError(unknown("over", view, VIEWS))
        if not 0 <= self.margin < 1:
            raise ValueError(f"margin must be in [0, 1), got {self.margin}")


class _Reads(Protocol):
    """What the rule reads of the settings."""

    agreement: AgreementConfig


def agreement(pool: Pool, config: _Reads) -> Selection:
    """Takes the class-prior top-k of the rows on which the views agree (rate = 1: all of them).

    Co-training's idea (Blum and Mitchell 1998) as used in MER2023 (10.1145/3581783.3612864). With
    agreement.mode off or hard all views must agree; k_of_n and soft as configured. `select` has
    already applied the mode when it is not off, so only the default is applied here.
    """
    if config.agreement.mode == "off":
        pool = with_agreement(pool, config.agreement, "hard")
    return class_topk(pool, config)


def with_agreement(pool: Pool, config: AgreementConfig, mode: str) -> Pool:
    """Returns the pool with agreement worked in: averaged probabilities or an eligible mask."""
    views, votes = collect(pool, config)
    if mode == "off" or not len(views):
        return pool
    if mode == "soft":
        share = votes.to(pool.probs.dtype)[..., None]  # (V, N, 1)
        mean = (pool.probs + (views * share).sum(0)) / (1 + share.sum(0))
        gold = pool.gold
        if gold is not None and gold.external is not None and "external" in config.over:
            gold_views, gold_votes = _gold_views(pool, gold, config)
            share = gold_votes.to(gold.probs.dtype)[..., None]
            total = gold.probs + (gold_views.to(gold.probs.dtype) * share).sum(0)
            gold = replace(gold, probs=total / (1 + share.sum(0)))
        elif gold is not None and gold.by_modality is not None and "modalities" in config.over:
            stack = torch.cat([gold.probs[None], gold.by_modality])
            gold = replace(gold, probs=stack.mean(0))
        return replace(pool, probs=mean, gold=gold)
    most = None if mode == "hard" else config.k
    agreeing, gold = agree(views, votes, pool.predicted, most), pool.gold
    if gold is not None and gold.external is not None and "external" in config.over:
        # what the rows must agree on, gold must, too, where the bound counts it
        gold_agrees = agree(*_gold_views(pool, gold, config), gold.probs.argmax(1), most)
        before = gold.eligible
        gold = replace(gold, eligible=gold_agrees if before is None else before & gold_agrees)
    return replace(pool, eligible=pool.allowed() & agreeing, gold=gold)


def agree(views: Tensor, votes: Tensor, predicted: Tensor, most: int | None = None) -> Tensor:
    """Returns (N,) bool: do all views that vote, or `most` of them, name the fused class?"""
    same = (views.argmax(-1) == predicted) & votes  # (V, N)
    agreeing, voting = same.sum(0) + 1, votes.sum(0) + 1  # the fused view agrees with itself
    return agreeing >= (voting if most is None else voting.clamp(max=most))


def _gold_views(pool: Pool, gold: Gold, config: AgreementConfig) -> tuple[Tensor, Tensor]:
    """Returns the views (V, G, C) of the gold rows and which of them vote on a row (V, G)."""
    assert gold.external is not None
    views, votes = [gold.external.nan_to_num()], [~gold.external.isnan().any(-1)]
    if "modalities" in config.over and gold.by_modality is not None:
        able = _able(pool, config.margin)[:, None].expand(gold.by_modality.shape[:2])
        views, votes = [gold.by_modality, *views], [able, *votes]
    return torch.cat(views), torch.cat(votes)


def collect(pool: Pool, config: AgreementConfig) -> tuple[Tensor, Tensor]:
    """Returns the views (V, N, C) beside the fused one and which of them vote on a row (V, N)."""
    views, votes = [], []
    for kind in config.over:
        stack = pool.by_modality if kind == "modalities" else getattr(pool, kind)
        if stack is None:
            continue
        voting = torch.ones(stack.shape[:2], dtype=torch.bool, device=stack.device)
        if kind == "modalities":
            if pool.present is not None:
                voting = voting & pool.present.T
            voting = voting & _able(pool, config.margin)[:, None]
        if kind == "external":  # NaN: the voter was not asked about this row
            voting, stack = ~stack.isnan().any(-1), stack.nan_to_num()
        views.append(stack)
        votes.append(voting)
    if not views:
        empty = pool.probs.new_zeros((0, *pool.probs.shape))
        return empty, empty[..., 0].bool()
    return torch.cat(views), torch.cat(votes)


def _able(pool: Pool, margin: float) -> Tensor:
    """Returns which modalities are better than guessing by `margin` on gold, (M,) bool."""
    assert pool.by_modality is not None
    able = torch.ones(len(pool.by_modality), dtype=torch.bool, device=pool.probs.device)
    gold = pool.gold
    if margin == 0 or gold is None or gold.by_modality is None or not len(gold.label):
        return able
    chance = torch.bincount(gold.label).max() / len(gold.label)
    accuracy = (gold.by_modality.argmax(-1) == gold.label).double().mean(1)
    return accuracy >= chance + margin
