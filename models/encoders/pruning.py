"""Token pruning inside a speech encoder: what is asked for, how many tokens stay, and the step.

Between the attention and the feed-forward part of the chosen layers an utterance of n tokens is
shortened to ``max(k_min, ceil(keep_rate * n))``. The counts are host integers taken from true
lengths, so they do not depend on batch mates and no step waits for the device.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from .merging import METHODS
from .scores import attention_received, neighbour_similarity, value_weighted_received
from .to_device import before, host_tensor

SCHEDULES = {
    "one_shot": "keep_rate once, at `layer`",
    "constant": "keep_rate of what is left at every layer from `layer` to `last_layer`",
    "linear": "from min_keep_rate at `layer` in even steps to keep_rate at `last_layer`",
}
SCORES = {"received": "attention received", "value_received": "the same, weighted by values"}


@dataclass
class PruningConfig:
    """How many speech tokens are KEPT, where, and what becomes of the others.

    Off unless a method is named: stopping at the right layer bought more in every comparison. The
    defaults of the rest are what kept the vectors closest on 1,035 real utterances
    (benchmarks/results/prune_fidelity_whisper_base.md).
    """

    method: str = "none"
    """none | auto (as measured: none) | merge (neighbours) | topk_merge | topk | fuse | stride."""
    keep_rate: float = 0.7
    """Share of the tokens kept, in (0, 1]; a keep rate, never a pruning rate."""
    layer: int | None = None
    """Layer (0-based) after whose attention tokens are first dropped; null = half of those run."""
    k_min: int = 16
    """An utterance is never shortened below this many tokens (16 tokens = 0.32 s of HuBERT)."""
    schedule: str = "one_shot"
    """one_shot | constant (keep_rate at every layer) | linear (min_keep_rate to keep_rate)."""
    min_keep_rate: float | None = None
    """Keep rate of the first pruning layer of schedule linear; the last one has keep_rate."""
    last_layer: int | None = None
    """Last pruning layer of the schedules constant and linear; null = the encoder's last."""
    score: str = "received"
    """Importance of a token: attention received, or weighted by its value (value_received)."""
    proportional_attention: bool = True
    """A token that stands for m frames counts m times as a key of the attention that follows."""

    def __post_init__(self) -> None:
        """Refuses values out of range, each in one sentence that names the field."""
        _check_name("method", self.method, ["none", "auto", *METHODS])
        _check_name("schedule", self.schedule, SCHEDULES)
        _check_name("score", self.score, SCORES)
        if not 0 < self.keep_rate <= 1:
            raise ValueError(f"keep_rate must be in (0, 1], got {self.keep_rate}")
        if self.k_min < 1:
            raise ValueError(f"k_min must be at least 1, got {self.k_min}")
        if self.layer is not None and self.layer < 0:
            raise ValueError(f"layer must be 0 or more (0-based), got {self.layer}")
        if self.last_layer is not None and self.last_layer < (self.layer or 0):
            raise ValueError(
                f"last_layer must not come before layer={self.layer or 0}, got {self.last_layer}"
            )
        if self.schedule == "linear" and self.min_keep_rate is None:
            raise ValueError("min_keep_rate must be set for schedule linear, got null")
        if self.min_keep_rate is not None and not 0 < self.min_keep_rate <= self.keep_rate:
            raise ValueError(
                f"min_keep_rate must be in (0, {self.keep_rate}], keep_rate being the upper end, "
                f"got {self.min_keep_rate}"
            )

    @property
    def active(self) -> bool:
        """True when some token may be dropped."""
        lowest = self.min_keep_rate if self.schedule == "linear" else self.keep_rate
        return self.method in METHODS and lowest is not None and lowest < 1


def keep_counts(lengths: list[int], keep_rate: float, k_min: int = 16) -> list[int]:
    """Returns how many tokens each utterance keeps: max(k_min, ceil(keep_rate * n)), at most n."""
    return [min(n, max(k_min, math.ceil(keep_rate * n))) for n in lengths]


def layer_rates(config: PruningConfig, depth: int) -> dict[int, float]:
    """Returns the keep rate of every pruning layer (0-based) where `depth` layers run."""
    if not config.active:
        return {}
    first = depth // 2 if config.layer is None else config.layer
    last = depth - 1 if config.last_layer is None else config.last_layer
    for name, layer in (("layer", first), ("last_layer", last)):
        if layer >= depth:
            raise ValueError(
                f"pruning.{name} must be below the number of layers that run, {depth} (as far as "
                f"the last one used), got {layer}"
            )
    if config.schedule == "one_shot":
        return {first: config.keep_rate}
    if config.schedule == "constant":
        return dict.fromkeys(range(first, last + 1), config.keep_rate)
    low = config.min_keep_rate or config.keep_rate
    step = (config.keep_rate - low) / max(last - first, 1)
    rates = {layer: low + step * (layer - first) for layer in range(first, last)}
    return {**rates, last: config.keep_rate}  # exactly the upper end, as the schedule promises


def pruning_identity(config: PruningConfig, depth: int) -> dict[str, Any] | None:
    """Returns what pruning does where `depth` layers run, JSON-able; None where nothing.

    Two settings that give the same numbers give the same identity: defaults are resolved (the layer
    is a number), and what the method does not read is left out.
    """
    rates = layer_rates(config, depth)
    if not rates:
        return None
    method = METHODS[config.method]
    found: dict[str, Any] = {
        "method": config.method,
        "keep_rates": {str(layer): rate for layer, rate in sorted(rates.items())},
        "k_min": config.k_min,
    }
    if method.score == "importance":
        found["score"] = config.score
    if method.weighted:
        found["proportional_attention"] = config.proportional_attention
    return found


def keep_rate_at(step: int, keep_rate: float, *, start: int, end: int) -> float:
    """Returns the keep rate of a training step: 1 before `start`, `keep_rate` from `end` on.

    Between them EViT's cosine, ``r + (1 - r)(1 + cos(pi t)) / 2`` (arXiv 2202.07800).
    """
    if end <= start:
        return 1.0 if step < start else keep_rate
    t = min(max((step - start) / (end - start), 0.0), 1.0)
    return keep_rate if t == 1 else keep_rate + (1 - keep_rate) * (1 + math.cos(math.pi * t)) / 2


@dataclass
class Tokens:
    """What the tokens of a padded batch stand for, as the batch grows shorter."""

    lengths: list[int]  # (B,) tokens of each utterance now, on the host
    width: int  # tokens of the padded batch now
    device: torch.device
    frames: list[int] = field(default_factory=list)  # (B,) tokens before any pruning
    sizes: torch.Tensor | None = None  # (B, K) float32 frames a token stands for; None = all 1
    group: torch.Tensor | None = None  # (B, N) int64 today's token of each frame; None = itself
    proportional: bool = True

    def __post_init__(self) -> None:
        """Starts with the lengths as they are."""
        self.frames = self.frames or list(self.lengths)

    @cached_property
    def mask(self) -> torch.Tensor:
        """True on tokens that are not padding: (B, K) bool."""
        return before(host_tensor(self.lengths, self.device), self.width)

    def weights(self) -> torch.Tensor:
        """Returns (B, K) float32: frames each token stands for, 0 on padding."""
        return self.mask.float() if self.sizes is None else self.sizes

    def attention_bias(self, dtype: torch.dtype) -> torch.Tensor | None:
        """Returns (B, 1, 1, K) to add to the attention logits: log size, -inf on padding.

        None when there is nothing to add, so that un-pruned batches run the very same kernel.
        """
        weights = self.sizes if self.proportional else None
        if weights is None and min(self.lengths) == self.width:
            return None
        weights = self.mask.float() if weights is None else weights
        return weights.log()[:, None, None, :].to(dtype)

    def mean(self, hidden: torch.Tensor) -> torch.Tensor:
        """Returns (B, D) float32: the mean of (B, K, D), each token as heavy as its size."""
        weights = self.weights()[..., None]
        hidden = hidden.float().masked_fill(weights == 0, 0)
        return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)

    def expand(self, hidden: torch.Tensor) -> torch.Tensor:
        """Returns (B, N, D): for every original frame the state of the token it became part of."""
        if self.group is None:
            return hidden
        return hidden.gather(1, self.group[..., None].expand(-1, -1, hidden.shape[2]))


class TokenPruner:
    """The pruning of one encoder: which layers shorten, and the shortening."""

    def __init__(self, config: PruningConfig, depth: int) -> None:
        self.config = config
        self.rates = layer_rates(config, depth)

    def start(self, lengths: list[int], width: int, device: torch.device) -> Tokens:
        """Returns the tokens of a padded batch before its first layer."""
        proportional = self.config.proportional_attention
        return Tokens(list(lengths), width, device, proportional=proportional)

    def counts(self, lengths: list[int], layer: int) -> list[int]:
        """Returns how many tokens each utterance has after `layer`."""
        if layer not in self.rates:
            return lengths
        return keep_counts(lengths, self.rates[layer], self.config.k_min)

    def acts_on(self, tokens: Tokens, layer: int) -> bool:
        """Returns whether `layer` shortens this batch, so that its queries and keys are needed."""
        return self.counts(tokens.lengths, layer) != tokens.lengths

    def prune(
        self,
        layer: int,
        hidden: torch.Tensor,
        tokens: Tokens,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor | None = None,
        out_weight: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, Tokens]:
        """Returns the shortened (B, K, D) states and what their tokens stand for now.

        A batch that this layer leaves alone comes back as the same object, untouched.

        Args:
            layer: 0-based number of the layer.
            hidden: (B, N, D) states between the layer's attention and its feed-forward part.
            tokens: what the N tokens stand for.
            q: (B, H, N, d) queries of this layer's attention, without their scaling.
            k: (B, H, N, d) keys.
            v: (B, H, N, d) values; only for score "value_received".
            out_weight: (D, H * d) weight of the output projection; only for "value_received".
        """
        if not self.acts_on(tokens, layer):
            return hidden, tokens
        method = METHODS[self.config.method]
        keep = self.counts(tokens.lengths, layer)
        sizes = tokens.weights()
        with torch.no_grad():  # which tokens stay is a choice; gradients flow through their states
            score = self._score(method.score, q, k, v, out_weight, sizes)
        step = method.apply(hidden, sizes, tokens.lengths, keep, score)
        group = step.group if tokens.group is None else step.group.gather(1, tokens.group)
        after = Tokens(
            lengths=keep,
            width=max(keep),
            device=tokens.device,
            frames=tokens.frames,
            sizes=step.sizes if method.weighted else None,
            group=group,
            proportional=tokens.proportional,
        )
        return step.hidden, after

    def _score(self, kind, q, k, v, out_weight, sizes) -> torch.Tensor | None:
        """Returns what the method ranks by."""
        if kind == "none":
            return None
        if kind == "similarity":
            return neighbour_similarity(k)
        if self.config.score == "received":
            return attention_received(q, k, sizes)
        if v is None or out_weight is None:
            raise ValueError("score value_received needs the values and the output projection")
        return value_weighted_received(q, k, v, out_weight, sizes)


# Positions are added before the first layer, so dropping a token changes no other's position.
ABSOLUTE = ("hubert", "wav2vec2", "data2vec-audio", "whisper")
RELATIVE = {
    "wavlm": "its attention adds a bias by relative position in every layer",
    "emotion2vec": "its attention adds a bias by distance in every layer",
    "wav2vec2-conformer": "its layers convolve over neighbours and attend by relative position",
    "wav2vec2-bert": "its layers convolve over neighbours and attend by relative position",
}


def supports_pruning(model_type: str) -> tuple[bool, str]:
    """Returns whether tokens may be dropped inside this architecture, and the reason if not."""
    if model_type in ABSOLUTE:
        return True, ""
    known = ", ".join(ABSOLUTE)
    reason = RELATIVE.get(model_type, "it is not known to add positions before its first layer")
    return False, f"model type '{model_type}' cannot be pruned: {reason}; these can: {known}"


def _check_name(name: str, value: str, known) -> None:
    """Raises ValueError listing the known values and the nearest."""
    if value not in known:
        close = difflib.get_close_matches(str(value), list(known), n=1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}{hint}")
