"""FreeMatch: a self-adaptive threshold (SAT), and the fairness term (SAF) for training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from ..alignment import running
from ..pool import BELOW, CONSTANT, Pool, Selection, decide, nothing


@dataclass
class FreeMatchConfig:
    """Numbers of the rule freematch."""

    momentum: float = field(default=0.97, metadata=CONSTANT)
    """Weight of the past in the averages (published: 0.999, over 10,000 steps and more)."""
    unbiased: bool = field(default=True, metadata=CONSTANT)
    """Divide the averages by 1 - momentum ** t; false = start from 1 / C as published."""
    quantile: bool = field(default=False, metadata=CONSTANT)
    """Average the 80 % quantile of the confidence instead of its mean."""
    clip: bool = field(default=False, metadata=CONSTANT)
    """Never let the threshold rise above 0.95."""

    def __post_init__(self):
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {self.momentum}")


class _Reads(Protocol):
    """What the rule reads of the settings."""

    freematch: FreeMatchConfig


def freematch(pool: Pool, config: _Reads) -> Selection:
    """Takes rows with max p >= tau_t p_c / max p (https://arxiv.org/abs/2205.07246, eq. 5-8)."""
    if not len(pool):
        return nothing(pool)
    tau, state = adaptive_thresholds(pool.probs, pool.state, config.freematch)
    chosen = pool.confidence >= tau[pool.predicted]
    return decide(pool, chosen, BELOW, threshold=tau, state=state)


def adaptive_thresholds(
    probs: Tensor, state: dict[str, Tensor], config: FreeMatchConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """Returns the thresholds (C,) after one batch or pool, and the new averages.

    state: freematch.time (), freematch.model (C,), freematch.hist (C,).
    """
    classes = probs.shape[1]
    confidence, predicted = probs.max(1)
    level = quantile(confidence, 0.8) if config.quantile else confidence.mean()
    hist = torch.bincount(predicted, minlength=classes).to(probs.dtype) / len(probs)
    news = {"time": level, "model": probs.mean(0), "hist": hist}
    value, update = {}, {}
    for name, x in news.items():
        start = None if config.unbiased else torch.full_like(x, 1 / classes)
        value[name], more = running(state, f"freematch.{name}", x, config.momentum, start)
        update |= more
    if config.clip:
        value["time"] = value["time"].clamp(0.0, 0.95)
        if not config.unbiased:
            update["freematch.time"] = value["time"]
    return value["time"] * (value["model"] / value["model"].max()), update


def fairness_term(mask: Tensor, logits: Tensor, model: Tensor, hist: Tensor) -> Tensor:
    """Returns SAF: sum_c Norm(p / h)_c log Norm(p_s / h_s)_c, to be ADDED times lambda 0.001-0.01.

    The sign is the published code's: minimising it moves the predictions on the masked strong
    views away from the classes the model already favours. No masked row: 0.

    Args:
        mask: (B,) bool or 0/1, rows that passed the threshold.
        logits: (B, C) of the strong views.
        model: (C,) running mean prediction.
        hist: (C,) running histogram of predicted classes.
    """
    share = mask.to(logits.dtype)
    count = share.sum()
    probs = logits.softmax(-1)
    mean = (probs * share[:, None]).sum(0) / count.clamp(min=1)
    named = torch.nn.functional.one_hot(probs.argmax(-1), probs.shape[1]).to(probs.dtype)
    strong = (named * share[:, None]).sum(0) / count.clamp(min=1)
    wanted = _normalised(model * _inverse(hist))
    got = _normalised(mean * _inverse(strong))
    return (wanted.detach() * (got + 1e-12).log()).sum() * (count > 0)


def quantile(x: Tensor, q: float) -> Tensor:
    """Returns the linear quantile; torch.quantile refuses more than 16 million values."""
    ordered = x.sort().values
    place = q * (len(x) - 1)
    low = int(place)
    high = min(low + 1, len(x) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def _inverse(x: Tensor) -> Tensor:
    return torch.where(x > 0, 1 / x.clamp(min=1e-30), torch.zeros_like(x)).detach()


def _normalised(x: Tensor) -> Tensor:
    return x / x.sum().clamp(min=1e-30)
