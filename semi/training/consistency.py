"""Consistency in training: a model's word on a clean pool row is taught to its noisy view. VMAP.

The engine `online` of the rounds; off by default, as it lost in the study on cached features
(macro-F1: SoftMatch -3 to -9 points, aligned to the root of the prior -1 to -2; AdaMatch -3 to +1).
It is made for encoders that learn along, of waveforms; here noise on features is the strong view.

Letters: E members, B rows of a batch, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pseudo_label.alignment import normalise, running
from pseudo_label.rules.adamatch import AdaMatchConfig, align_to_gold
from pseudo_label.rules.softmatch import SoftMatchConfig, gaussian_weight

MOMENTUM = 0.97  # of the mean prediction that is aligned


@dataclass
class Online:
    """How the pool is learned from at each step; the numbers are those of section `select`."""

    rule: str  # threshold (FixMatch) | softmatch | adamatch
    threshold: float
    adamatch: AdaMatchConfig
    softmatch: SoftMatchConfig
    prior: Tensor | None = None  # (C,) what the mean prediction is aligned to; None = see `align`

    def start(self, members: int, classes: int, device: torch.device) -> dict[str, Tensor]:
        """Returns the moving averages before the first step, (E, ...) each."""
        wide, flat = [], []
        if self.prior is not None:
            wide = ["online.model"]
        elif self.rule == "adamatch":
            wide = ["adamatch.model", "adamatch.target"]
        if self.rule == "softmatch":
            flat = ["softmatch.mu", "softmatch.var"]
        state = {k: torch.zeros(members, classes, device=device) for k in wide}
        masses = [f"{k}.mass" for k in (*wide, *flat)]
        return state | {k: torch.zeros(members, device=device) for k in (*flat, *masses)}


def online_of(select: Any, prior: Tensor) -> Online:
    """Returns the engine's numbers; `select.align_gamma` says which power of `prior` is aligned to.

    Averages are bias-corrected whatever the section says: a round is short.
    """
    gamma = select.align_gamma
    return Online(
        select.rule,
        select.threshold,
        replace(select.adamatch, unbiased=True),
        replace(select.softmatch, unbiased=True, per_class=False),
        None if gamma is None else normalise(prior.clamp(min=1e-12) ** gamma),
    )


def consistency(
    clean: Tensor, noisy: Tensor, gold: Tensor, state: dict[str, Tensor], online: Online
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Returns the mean loss of the pool rows, the mean weight of one, and the new averages.

    Args:
        clean: (B, C) logits of the clean views, gold rows first; no gradient flows into them.
        noisy: (B', C) logits of the noisy views of the B' pool rows, the last ones of `clean`.
        gold: (B - B',) weights of the gold rows; 0 = held out by this chain, and not looked at.
        state: of the steps before.
        online: the rule and its numbers.
    """
    said = clean.detach().softmax(-1)
    known, probs = said[: len(gold)], said[len(gold) :]
    mine = (gold > 0).to(said.dtype)
    mine = mine / mine.sum().clamp(min=1)
    probs, update = _aligned(probs, (known * mine[:, None]).sum(0), state, online)
    top, label = probs.max(1)
    if online.rule == "softmatch":
        weight, more = gaussian_weight(probs, state, online.softmatch)
        update = update | more
    else:
        bar = online.threshold * torch.ones_like(mine.sum())
        if online.rule == "adamatch":
            bar = online.adamatch.threshold * (known.amax(1) * mine).sum()
        weight = (top >= bar).to(said.dtype)
    loss = (weight * F.cross_entropy(noisy, label, reduction="none")).mean()
    return loss, weight.mean(), update


def _aligned(
    probs: Tensor, gold: Tensor, state: dict[str, Tensor], online: Online
) -> tuple[Tensor, dict[str, Tensor]]:
    """Returns probabilities aligned to the prior's power, or as AdaMatch does, or as they are."""
    if online.prior is not None:
        model, update = running(state, "online.model", probs.mean(0), MOMENTUM)
        return normalise(probs * online.prior / model.clamp(min=1e-6)), update
    if online.rule == "adamatch":
        return align_to_gold(probs, gold[None], state, online.adamatch)
    return probs, {}
