"""HuBERT, wav2vec2, WavLM, data2vec-audio and UniSpeech behind the Backbone interface.

Letters: B batch, S samples, T frames, N tokens, D features, H heads, d head width.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from .backbone import Attended, Backbone, self_attention
from .packed import Packing
from .padding import clear_padding, length_mask, masked_group_norm


class Wav2VecBackbone(Backbone):
    """HuBERT, wav2vec2, WavLM, data2vec-audio, UniSpeech: strided convolutions on the wave."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.config: Any = model.config
        self.convolutions: Any = model.feature_extractor.conv_layers
        self.projection: Any = model.feature_projection
        self.encoder: Any = model.encoder
        self.layers = model.encoder.layers
        self.depth = len(self.layers)
        self.width = self.config.hidden_size
        self.norm_first = bool(getattr(self.config, "do_stable_layer_norm", False))
        self.shortest = receptive_field(self.config)
        self.longest = sys.maxsize  # positions are convolutions
        self.multiple = 320 * 32
        self.frames_first = False
        self.folds_norm = False  # True: the first norm is in its convolution; for inference

    @torch.no_grad()
    def store_frames_first(self, wanted: bool = True) -> None:
        """Stores the front end's weights so that its states lie frame by frame; for inference.

        The same numbers; on most CPUs the convolutions take a third less time, and the norms and
        the projection after them need no copy (benchmarks/extract.py). Not `wanted`: as PyTorch
        stores them.
        """
        for layer in self.convolutions:
            conv = layer.conv
            if conv.padding != (0,) or conv.dilation != (1,) or conv.groups != 1:
                return
        for layer in self.convolutions:
            weight = layer.conv.weight  # (D, C, kernel)
            by_frame = weight.permute(0, 2, 1).contiguous().permute(0, 2, 1)
            weight.data = by_frame if wanted else weight.contiguous()
        self.frames_first = wanted

    def prepare(self, wave: torch.Tensor) -> torch.Tensor:
        """Returns the wave (S,) itself."""
        return wave

    def frames(self, samples: int) -> int:
        """Returns the number of frames that `samples` samples give."""
        for kernel, stride in zip(self.config.conv_kernel, self.config.conv_stride, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples

    def embed(self, rows: torch.Tensor, lengths: list[int]) -> tuple[torch.Tensor, list[int]]:
        """Returns the frames with positions added; see Backbone."""
        x = rows[:, None]  # (B, 1, S)
        for index, layer in enumerate(self.convolutions):
            norm = getattr(layer, "layer_norm", None)
            if index == 0 and isinstance(norm, nn.GroupNorm):
                x = self._first(layer.conv, norm, x, lengths)
            else:
                x = convolve_frames(layer.conv, x) if self.frames_first else layer.conv(x)
                if norm is not None:
                    x = norm(x.transpose(1, 2)).transpose(1, 2)
            x = layer.activation(x)
        hidden = self.projection(x.transpose(1, 2))  # (B, T, D)
        hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        frames = [self.frames(n) for n in lengths]
        mask = length_mask(frames, hidden.shape[1], hidden.device)
        hidden = clear_padding(hidden, mask)
        hidden = hidden + self._positions(hidden, mask)
        if not self.norm_first:
            hidden = self.encoder.layer_norm(hidden)
        return self.encoder.dropout(hidden), frames

    def _first(
        self, conv: nn.Conv1d, norm: nn.GroupNorm, x: torch.Tensor, lengths: list[int]
    ) -> torch.Tensor:
        """Returns the first convolution of the waves (B, 1, S), normalised over valid frames."""
        (stride,), (kernel,) = conv.stride, conv.kernel_size
        inside = [(n - kernel) // stride + 1 for n in lengths]
        mask = length_mask(inside, (x.shape[-1] - kernel) // stride + 1, x.device)
        if not (self.frames_first or self.folds_norm):
            return masked_group_norm(conv(x), norm, mask)
        return normalized_convolution(conv, norm, x[:, 0], mask).transpose(1, 2)

    def _positions(self, hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Returns the convolutional positions (B, T, D), as if nothing but zeros followed a row."""
        embedding = self.encoder.pos_conv_embed
        if hasattr(embedding, "layers"):  # data2vec-audio: several, each seeing its own zeros
            for layer in embedding.layers:
                hidden = layer(clear_padding(hidden, mask).transpose(1, 2)).transpose(1, 2)
            return hidden
        if mask is None or getattr(embedding, "batch_norm", None) is None:
            return embedding(hidden)
        x = embedding.batch_norm(hidden.transpose(1, 2))  # its shift would fill the padding
        x = embedding.conv(clear_padding(x.transpose(1, 2), mask).transpose(1, 2))
        return embedding.activation(embedding.padding(x)).transpose(1, 2)

    def attend(
        self,
        layer: Any,
        hidden: torch.Tensor,
        bias: torch.Tensor | Packing | None,
        positions: torch.Tensor | None,
    ) -> Attended:
        """Returns the states after attention; see Backbone."""
        x = layer.layer_norm(hidden) if self.norm_first else hidden
        if positions is not None and not isinstance(bias, Packing):  # such a batch is never packed
            gated = gate_positions(layer.attention, x, positions)
            bias = gated if bias is None else gated + bias
        x, q, k, v = self_attention(layer.attention, x, bias)
        hidden = hidden + layer.dropout(x)
        if not self.norm_first:
            hidden = layer.layer_norm(hidden)
        return Attended(hidden, q, k, v, layer.attention.out_proj.weight)

    def relative_positions(self, count: int) -> torch.Tensor | None:
        """Returns WavLM's (1, H, T, T) bias by distance: its first layer has the table for all."""
        attention = self.layers[0].attention
        if not hasattr(attention, "rel_attn_embed"):
            return None
        return attention.compute_bias(count, count)[None]

    def feed_forward(self, layer: Any, hidden: torch.Tensor) -> torch.Tensor:
        """Returns the states after the feed-forward part (and MMS's adapter); see Backbone."""
        if not self.norm_first:
            return layer.final_layer_norm(hidden + layer.feed_forward(hidden))
        hidden = hidden + layer.feed_forward(layer.final_layer_norm(hidden))
        adapter = getattr(layer, "adapter_layer", None)
        return hidden if adapter is None else hidden + adapter(hidden)

    def finish(self, hidden: torch.Tensor) -> torch.Tensor:
        """Returns the states after the final LayerNorm where the model has one at its end."""
        return self.encoder.layer_norm(hidden) if self.norm_first else hidden


def convolve_frames(conv: nn.Conv1d, x: torch.Tensor) -> torch.Tensor:
    """Returns conv(x), (B, D, T) stored as (B, T, D), of an `x` stored alike."""
    weight, (stride,), (kernel,) = conv.weight, conv.stride, conv.kernel_size
    if x.shape[1] == 1:  # on the wave itself a matrix product is faster than any convolution
        windows = x[:, 0].unfold(-1, kernel, stride)  # (B, T, kernel)
        return F.linear(windows, weight[:, 0], conv.bias).transpose(1, 2)
    return F.conv2d(x.unsqueeze(2), weight.unsqueeze(2), conv.bias, (1, stride)).squeeze(2)


def normalized_convolution(
    conv: nn.Conv1d, norm: nn.GroupNorm, waves: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """Returns the group norm of conv(waves), (B, T, D), without ever holding conv(waves).

    A channel is w.x over windows x of the wave, so its mean over time is w.m and its variance
    w.S.w with m and S the windows' mean and covariance: the norm only rescales w. S is taken in
    float64, which is exact enough for waves with any offset (summing squares of the channels, as
    PyTorch does for this memory layout, is not).
    """
    (stride,), (kernel,) = conv.stride, conv.kernel_size
    windows = waves.unfold(-1, kernel, stride).double()  # (B, T, K)
    valid = windows.new_ones(windows.shape[:2]) if mask is None else mask.double()
    valid = valid[..., None]  # (B, T, 1)
    count = valid.sum(1, keepdim=True)
    windows = windows - (windows * valid).sum(1, keepdim=True) / count
    inside = windows * valid
    covariance = inside.transpose(1, 2) @ inside / count  # (B, K, K)
    weight = conv.weight[:, 0].double()  # (D, K)
    variance = torch.einsum("dk,bkl,dl->bd", weight, covariance, weight)
    scale = norm.weight.double() * torch.rsqrt(variance + norm.eps)  # (B, D)
    weight = (weight * scale[..., None]).to(waves.dtype)  # (B, D, K)
    return torch.baddbmm(norm.bias, windows.to(waves.dtype), weight.transpose(1, 2))


def gate_positions(attention: Any, hidden: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Returns WavLM's position bias (B, H, N, N) as gated by each token's own state.

    Gated relative position bias, https://arxiv.org/abs/2110.13900, eq. 3-5.
    """
    batch, count, _ = hidden.shape
    heads = hidden.view(batch, count, attention.num_heads, -1).transpose(1, 2)  # (B, H, N, d)
    gates = attention.gru_rel_pos_linear(heads).view(*heads.shape[:-1], 2, 4).sum(-1)
    update, reset = gates.sigmoid().chunk(2, dim=-1)  # (B, H, N, 1) each
    return (update * (reset * attention.gru_rel_pos_const - 1.0) + 2.0) * positions


def receptive_field(config: Any) -> int:
    """Returns the number of samples that give one frame (400 for HuBERT)."""
    samples = 1
    for kernel, stride in reversed(list(zip(config.conv_kernel, config.conv_stride, strict=True))):
        samples = (samples - 1) * stride + kernel
    return samples
