"""emotion2vec behind the Backbone interface: data2vec-audio's layers, ALiBi and extra tokens.

emotion2vec (https://arxiv.org/abs/2312.15185) is a data2vec 2.0 encoder. Its front end and its
blocks are those of transformers' Data2VecAudioModel; what it adds are learned tokens before each
row, which attend and are attended but are no frames, and a bias by distance in every layer.
Letters: B batch, S samples, T frames, E extra tokens, D features, H heads, L layers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from .backbone import LayerState
from .pruning import TokenPruner, Tokens
from .to_device import sent
from .wav2vec import Wav2VecBackbone


class Emotion2vecModel(nn.Module):
    """The weights: an audio encoder, the extra tokens and how steep each head's bias is."""

    def __init__(self, audio: Any, extra_tokens: torch.Tensor, alibi_scale: torch.Tensor) -> None:
        super().__init__()
        self.audio: Any = audio  # transformers' Data2VecAudioModel, prenet blocks first
        self.config: Any = audio.config
        self.extra_tokens = nn.Parameter(extra_tokens)  # (1, E, D)
        self.alibi_scale = nn.Parameter(alibi_scale)  # (L or 1, 1, H or 1, 1, 1)


class Emotion2vecBackbone(Wav2VecBackbone):
    """emotion2vec: layers 1 to 4 are its context encoder's blocks, the rest its own."""

    packable = False  # its bias goes by distance

    def __init__(self, model: Emotion2vecModel) -> None:
        super().__init__(model.audio)
        self.extra_tokens = model.extra_tokens
        self.alibi_scale = model.alibi_scale

    def forward(
        self,
        rows: torch.Tensor,
        lengths: list[int],
        *,
        last: int | None = None,
        pruner: TokenPruner | None = None,
        packed: bool = False,
    ) -> Iterator[tuple[int, LayerState]]:
        """Yields (k, state) for k = 0 ... `last`, the frames alone; see Backbone."""
        last = self.depth if last is None else last
        hidden, frames = self.embed(rows, lengths)
        tokens = Tokens(frames, hidden.shape[1], hidden.device)
        yield 0, LayerState(hidden, tokens)
        extra = self.encoder.layer_norm(self.extra_tokens).expand(len(hidden), -1, -1)
        count = extra.shape[1]
        every = Tokens([n + count for n in frames], hidden.shape[1] + count, hidden.device)
        padding = every.attention_bias(hidden.dtype)  # (B, 1, 1, E + T)
        distance = alibi(hidden.shape[1], self.config.num_attention_heads, hidden.device)
        distance = nn.functional.pad(distance, (count, 0, count, 0))  # (H, E + T, E + T)
        hidden = torch.cat([extra, hidden], 1)
        scales = self.alibi_scale.float().clamp(min=0)
        for index in range(last):
            scale = scales[index if len(scales) > 1 else 0]  # (1, H, 1, 1)
            bias = (distance * scale).to(hidden.dtype)
            bias = bias if padding is None else bias + padding
            layer = self.layers[index]
            hidden = self.feed_forward(layer, self.attend(layer, hidden, bias, None).hidden)
            yield index + 1, LayerState(hidden[:, count:], tokens)


def alibi(count: int, heads: int, device: torch.device) -> torch.Tensor:
    """Returns (H, T, T) float32: minus the distance of two frames times each head's slope.

    The symmetric form of https://arxiv.org/abs/2108.12409, as data2vec 2.0 uses it.
    """
    at = torch.arange(count, device=device)
    distance = (at[None] - at[:, None]).abs().float()
    return -sent(torch.tensor(slopes(heads)), device)[:, None, None] * distance


def slopes(heads: int) -> list[float]:
    """Returns the slope of each head: a geometric series, woven of two where H is no power of 2."""
    power = 2 ** math.floor(math.log2(heads))
    ratio = 2.0 ** (-8.0 / power)
    series = [ratio ** (i + 1) for i in range(power)]
    return series if power == heads else series + slopes(2 * power)[0::2][: heads - power]
