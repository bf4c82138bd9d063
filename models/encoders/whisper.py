"""Whisper's encoder at true length: only the frames that the audio fills are computed.

Transformers pads every clip to 30 s; the silence costs 10 x the time of a 3 s clip and, averaged
in, accuracy. Positions are absolute, so the first T of them serve T frames.
Letters: B batch, S samples, M mel bands, T frames (20 ms), N tokens, D features.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from .backbone import Attended, Backbone, self_attention
from .packed import Packing
from .padding import clear_padding, length_mask
from .to_device import sent

HOP = 160  # samples a spectrum frame; two of them make one encoder frame
WINDOW = 400  # samples


class WhisperBackbone(Backbone):
    """The encoder of a Whisper model."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        config = encoder.config
        self.config: Any = config
        self.encoder: Any = encoder
        self.layers = encoder.layers
        self.depth = len(self.layers)
        self.width = config.d_model
        self.shortest = 2 * HOP
        self.longest = config.max_source_positions * 2 * HOP
        self.multiple = 64
        filters = slaney_filters(config.num_mel_bins, WINDOW, 16_000)
        self.filters = torch.from_numpy(filters)  # no buffer: stays float32 in a bf16 model

    def prepare(self, wave: torch.Tensor) -> torch.Tensor:
        """Returns the log-mel spectrum (M, 2 T) of a wave (S,)."""
        if self.filters.device != wave.device:  # once
            self.filters = sent(self.filters, wave.device)
        return log_mel(wave, self.filters)

    def embed(self, rows: torch.Tensor, lengths: list[int]) -> tuple[torch.Tensor, list[int]]:
        """Returns the frames with positions added, from spectra (B, M, 2 T); see Backbone."""
        encoder = self.encoder
        x = F.gelu(encoder.conv1(rows)).transpose(1, 2)  # (B, 2 T, D)
        x = clear_padding(x, length_mask(lengths, x.shape[1], x.device))
        x = F.gelu(encoder.conv2(x.transpose(1, 2))).transpose(1, 2)  # (B, T, D)
        x = x + encoder.embed_positions.weight[: x.shape[1]]
        x = F.dropout(x, p=encoder.dropout, training=self.training)
        return x, [n // 2 for n in lengths]

    def attend(
        self,
        layer: Any,
        hidden: torch.Tensor,
        bias: torch.Tensor | Packing | None,
        positions: torch.Tensor | None,
    ) -> Attended:
        """Returns the states after attention; see Backbone."""
        x = layer.self_attn_layer_norm(hidden)
        x, q, k, v = self_attention(layer.self_attn, x, bias)
        hidden = hidden + F.dropout(x, p=layer.dropout, training=self.training)
        return Attended(hidden, q, k, v, layer.self_attn.out_proj.weight)

    def feed_forward(self, layer: Any, hidden: torch.Tensor) -> torch.Tensor:
        """Returns the states after the feed-forward part; see Backbone."""
        x = layer.activation_fn(layer.fc1(layer.final_layer_norm(hidden)))
        x = layer.fc2(F.dropout(x, p=layer.activation_dropout, training=self.training))
        hidden = hidden + F.dropout(x, p=layer.dropout, training=self.training)
        if hidden.dtype == torch.float16:
            limit = torch.finfo(torch.float16).max - 1000
            hidden = hidden.clamp(-limit, limit)
        return hidden

    def finish(self, hidden: torch.Tensor) -> torch.Tensor:
        """Returns the states after the final LayerNorm."""
        return self.encoder.layer_norm(hidden)


def log_mel(wave: torch.Tensor, filters: torch.Tensor) -> torch.Tensor:
    """Returns (M, 2 T) with T = ceil(S / 320): the frames WhisperFeatureExtractor gives the audio.

    The same numbers as of the clip padded to 30 s, without computing the padding: the left end is
    reflected, after the right end come zeros, and the floor is 8 (log10) below the clip's maximum.
    """
    frames = 2 * math.ceil(len(wave) / (2 * HOP))
    # Two more frames than kept: their windows still touch the audio, so they count for the maximum.
    needed = (frames + 1) * HOP + WINDOW // 2
    padded = F.pad(wave.float()[None], (0, max(needed - len(wave), 0)))[:, :needed]
    padded = F.pad(padded, (WINDOW // 2, 0), mode="reflect")[0]
    window = torch.hann_window(WINDOW, device=wave.device)
    spectrum = torch.stft(
        padded, WINDOW, HOP, window=window, center=False, return_complex=True
    )  # (201, 2 T + 2)
    power = spectrum.real.square() + spectrum.imag.square()
    mel = (filters.T @ power).clamp(min=1e-10).log10()
    return ((torch.maximum(mel, mel.max() - 8.0) + 4.0) / 4.0)[:, :frames]


def slaney_filters(bands: int, window: int, sample_rate: int) -> np.ndarray:
    """Returns the triangular mel filters (window // 2 + 1, bands), Slaney's scale and norm."""
    edges = _mel_to_hertz(np.linspace(0.0, _hertz_to_mel(8_000.0), bands + 2))
    bins = np.linspace(0, sample_rate // 2, window // 2 + 1)
    slopes = edges[None] - bins[:, None]  # (bins, bands + 2)
    width = np.diff(edges)
    rising, falling = -slopes[:, :-2] / width[:-1], slopes[:, 2:] / width[1:]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return (triangles * (2.0 / (edges[2:] - edges[:-2]))).astype(np.float32)


def _hertz_to_mel(hertz: float) -> float:
    return 15.0 + math.log(hertz / 1000.0) * 27.0 / math.log(6.4)  # above 1 kHz


def _mel_to_hertz(mel: np.ndarray) -> np.ndarray:
    linear = 200.0 * mel / 3.0
    return np.where(mel < 15.0, linear, 1000.0 * np.exp(math.log(6.4) / 27.0 * (mel - 15.0)))
