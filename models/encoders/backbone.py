"""One explicit forward pass for every speech encoder: front end, then layer after layer.

The loop is ours, not transformers', so that each layer's state is used as it is produced and then
forgotten, the pass stops at the last layer asked for, tokens can be pruned between a layer's
attention and its feed-forward part, and padding never changes a row. Differentiable throughout.
Letters: B batch, S samples, T frames, N tokens, D features, H heads, d head width.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from .packed import Packing, attention
from .pruning import TokenPruner, Tokens


@dataclass
class Attended:
    """The middle of a layer: where tokens may be pruned."""

    hidden: torch.Tensor  # (B, N, D) after attention and residual
    q: torch.Tensor  # (B, H, N, d), not yet scaled
    k: torch.Tensor  # (B, H, N, d)
    v: torch.Tensor  # (B, H, N, d)
    out_weight: torch.Tensor  # (D, H * d) of the output projection


@dataclass
class LayerState:
    """What one layer hands on."""

    states: torch.Tensor  # (B, N, D), or (1, T, D) packed
    tokens: Tokens  # which of the N are padding, and how many frames each stands for
    packing: Packing | None = None  # where the packed tokens belong

    @property
    def hidden(self) -> torch.Tensor:
        """The states (B, N, D); what lies on padding means nothing."""
        return self.states if self.packing is None else self.packing.unpack(self.states)


class Backbone(nn.Module):
    """A pretrained speech encoder as a front end and a list of layers.

    Layer k, for k = 0 ... depth, is Hugging Face's `hidden_states[k]`: 0 enters the first layer,
    depth is `last_hidden_state`, which in models that normalise first (HuBERT-large, Whisper) is
    after the final LayerNorm.
    """

    config: Any  # transformers' own
    depth: int  # number of layers
    width: int  # D
    shortest: int  # samples; a shorter clip is padded with zeros to this
    longest: int  # samples the positions reach; longer audio must be cut
    multiple: int  # padded batches are a multiple of this wide, so that shapes repeat
    layers: Any  # transformers' own modules, a ModuleList
    checkpointing = False  # True: a layer is computed again for its gradient, not remembered
    packable = True  # False: layers look beyond a token, so rows cannot lie end to end

    @abstractmethod
    def prepare(self, wave: torch.Tensor) -> torch.Tensor:
        """Returns what the front end reads of one utterance (S,): (S,) itself, or a spectrum."""

    @abstractmethod
    def embed(self, rows: torch.Tensor, lengths: list[int]) -> tuple[torch.Tensor, list[int]]:
        """Returns the input of the first layer (B, T, D) and each row's number of valid frames.

        `rows` is what the front end reads, padded with zeros: (B, S) waves or (B, F, T) spectra;
        `lengths` counts each row's samples or spectrum frames.
        """

    @abstractmethod
    def attend(
        self,
        layer: Any,
        hidden: torch.Tensor,
        bias: torch.Tensor | Packing | None,
        positions: torch.Tensor | None,
    ) -> Attended:
        """Returns the states after attention and residual.

        `bias` is added to the logits; a Packing instead says that `hidden` (1, T, D) is packed.
        """

    @abstractmethod
    def feed_forward(self, layer: Any, hidden: torch.Tensor) -> torch.Tensor:
        """Returns the states after the layer's second half."""

    @abstractmethod
    def finish(self, hidden: torch.Tensor) -> torch.Tensor:
        """Returns the last layer's states as `last_hidden_state`."""

    def relative_positions(self, count: int) -> torch.Tensor | None:
        """Returns the (1, H, T, T) position bias that all layers share, None for most models."""
        return None

    def forward(
        self,
        rows: torch.Tensor,
        lengths: list[int],
        *,
        last: int | None = None,
        pruner: TokenPruner | None = None,
        packed: bool = False,
    ) -> Iterator[tuple[int, LayerState]]:
        """Yields (k, state) for k = 0 ... `last` (None: depth), computing nothing beyond it.

        `packed` lays the valid tokens of all rows end to end after the front end: the same numbers
        without computing padding (not for models with relative positions).
        """
        last = self.depth if last is None else last
        hidden, frames = self.embed(rows, lengths)
        if pruner is None:
            tokens = Tokens(frames, hidden.shape[1], hidden.device)
        else:
            tokens = pruner.start(frames, hidden.shape[1], hidden.device)
        positions = self.relative_positions(hidden.shape[1])
        packing = None
        if packed and self.packable and positions is None and min(frames) < hidden.shape[1]:
            packing = Packing(frames, hidden.shape[1], hidden.device)
            hidden = packing.pack(hidden)
        yield 0, LayerState(hidden, tokens, packing)
        for index in range(last):
            if self.checkpointing and torch.is_grad_enabled():
                arguments = (index, hidden, tokens, positions, pruner, packing)
                hidden, tokens, packing = checkpoint(self._layer, *arguments, use_reentrant=False)
            else:
                hidden, tokens, packing = self._layer(
                    index, hidden, tokens, positions, pruner, packing
                )
            yield index + 1, LayerState(hidden, tokens, packing)

    def _layer(
        self,
        index: int,
        hidden: torch.Tensor,
        tokens: Tokens,
        positions: torch.Tensor | None,
        pruner: TokenPruner | None,
        packing: Packing | None,
    ) -> tuple[torch.Tensor, Tokens, Packing | None]:
        """Returns the states after layer `index` (0-based), what they stand for, and how they lie.

        Pruning is done on the padded batch. Where its tokens weigh the attention from then on it
        stays padded, since the packed kernel takes no weights.
        """
        layer = self.layers[index]
        bias = tokens.attention_bias(hidden.dtype) if packing is None else packing
        middle = self.attend(layer, hidden, bias, positions)
        hidden = middle.hidden
        if pruner is not None and pruner.acts_on(tokens, index):
            q, k, v = middle.q, middle.k, middle.v
            if packing is not None:
                hidden, q, k, v = packing.unpack(hidden), *map(packing.unpack_heads, (q, k, v))
            hidden, tokens = pruner.prune(index, hidden, tokens, q, k, v, middle.out_weight)
            if packing is not None:
                weighs = tokens.sizes is not None and tokens.proportional
                packing = None if weighs else Packing(tokens.lengths, tokens.width, hidden.device)
                hidden = hidden if packing is None else packing.pack(hidden)
        hidden = self.feed_forward(layer, hidden)
        hidden = self.finish(hidden) if index + 1 == self.depth else hidden
        return hidden, tokens, packing


def self_attention(
    module: Any, hidden: torch.Tensor, bias: torch.Tensor | Packing | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns the attention's output (B, N, D) and its q, k, v (B, H, N, d), q not yet scaled."""
    batch, count, _ = hidden.shape
    q, k, v = (
        project(hidden).view(batch, count, module.num_heads, -1).transpose(1, 2)
        for project in (module.q_proj, module.k_proj, module.v_proj)
    )
    dropout = module.dropout if module.training else 0.0
    if isinstance(bias, Packing):
        mixed = attention(q, k, v, bias, dropout)
    else:
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout)
    mixed = mixed.transpose(1, 2).reshape(batch, count, -1)  # (B, N, D)
    return module.out_proj(mixed), q, k, v
