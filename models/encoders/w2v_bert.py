"""w2v-BERT 2.0 behind the Backbone interface: conformer layers on pairs of log-mel frames.

https://arxiv.org/abs/2312.05187, section 3.2.1; the modules are transformers' Wav2Vec2BertModel.
Letters: B batch, S samples, M mel bands, F spectrum frames (10 ms), N tokens (20 ms), D features.
"""

from __future__ import annotations

import sys
from typing import Any

import torch

from .backbone import Attended, Backbone
from .packed import Packing
from .padding import clear_padding, length_mask
from .pruning import TokenPruner, Tokens
from .to_device import sent

HOP = 160  # samples a spectrum frame
WINDOW = 400  # samples
FOURIER = 512  # samples of the transform that a window is padded to
STRIDE = 2  # spectrum frames that lie side by side in one token
FLOOR = 1.192092955078125e-07  # of a band's energy, as in Kaldi: float32's epsilon
EPSILON = 1e-7  # added to a band's variance


class W2vBertBackbone(Backbone):
    """w2v-BERT 2.0."""

    packable = False  # its convolutions would reach into the next row

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.config: Any = model.config
        self.projection: Any = model.feature_projection
        self.encoder: Any = model.encoder
        self.layers = model.encoder.layers
        self.depth = len(self.layers)
        self.width = self.config.hidden_size
        self.norm_first = False  # no norm after the last layer: it is part of each
        self.shortest = WINDOW + HOP  # two spectrum frames
        self.longest = sys.maxsize  # positions are relative
        self.multiple = 32
        bands = self.config.feature_projection_input_dim // STRIDE
        self.filters = kaldi_filters(bands)  # no buffer: stays float64 in a bf16 model

    def prepare(self, wave: torch.Tensor) -> torch.Tensor:
        """Returns the scaled log-mel spectrum of a wave (S,), (2 M, N), two frames a token.

        A last frame without a partner is left out: transformers pads it and masks the pair.
        """
        if self.filters.device != wave.device:  # once
            self.filters = sent(self.filters, wave.device)
        spectrum = log_mel(wave, self.filters)  # (F, M)
        variance, mean = torch.var_mean(spectrum, 0, keepdim=True)  # over F - 1
        scaled = (spectrum - mean) / (variance + EPSILON).sqrt()
        pairs = len(scaled) // STRIDE
        return scaled[: STRIDE * pairs].reshape(pairs, -1).float().T

    def embed(self, rows: torch.Tensor, lengths: list[int]) -> tuple[torch.Tensor, list[int]]:
        """Returns the projected spectra (B, N, D), from (B, 2 M, N); see Backbone."""
        hidden, _ = self.projection(rows.transpose(1, 2))
        hidden = clear_padding(hidden, length_mask(lengths, hidden.shape[1], hidden.device))
        return self.encoder.dropout(hidden), lengths

    def _layer(
        self,
        index: int,
        hidden: torch.Tensor,
        tokens: Tokens,
        positions: torch.Tensor | None,
        pruner: TokenPruner | None,
        packing: Packing | None,
    ) -> tuple[torch.Tensor, Tokens, Packing | None]:
        """Returns the states after a layer: half feed-forward, attention, convolution, half again.

        The convolution must see zeros where a row has ended, so the layer is one piece here.
        """
        layer = self.layers[index]
        mask = None if min(tokens.lengths) == tokens.width else tokens.mask
        hidden = self.attend(layer, hidden, tokens.attention_bias(hidden.dtype), positions).hidden
        hidden = hidden + layer.conv_module(hidden, attention_mask=mask)
        return self.feed_forward(layer, hidden), tokens, packing

    def attend(
        self,
        layer: Any,
        hidden: torch.Tensor,
        bias: torch.Tensor | Packing | None,
        positions: torch.Tensor | None,
    ) -> Attended:
        """Returns the states after the first half feed-forward part and attention."""
        hidden = hidden + 0.5 * layer.ffn1(layer.ffn1_layer_norm(hidden))
        mixed = layer.self_attn(
            layer.self_attn_layer_norm(hidden),
            attention_mask=bias,
            relative_position_embeddings=positions,
        )[0]
        hidden = hidden + layer.self_attn_dropout(mixed)
        nothing = hidden.new_zeros(0)  # no token is pruned here
        return Attended(hidden, nothing, nothing, nothing, nothing)

    def relative_positions(self, count: int) -> torch.Tensor | None:
        """Returns what the layers share of relative or rotary positions; None for learned keys."""
        embed = self.encoder.embed_positions
        if embed is None:
            return None
        like = next(self.parameters())
        with like.device:  # else it makes its positions on the host
            return embed(like.new_zeros(1, count, self.width))

    def feed_forward(self, layer: Any, hidden: torch.Tensor) -> torch.Tensor:
        """Returns the states after the second half feed-forward part and the layer's last norm."""
        hidden = hidden + 0.5 * layer.ffn2(layer.ffn2_layer_norm(hidden))
        return layer.final_layer_norm(hidden)

    def finish(self, hidden: torch.Tensor) -> torch.Tensor:
        """Returns the states: no norm follows the last layer."""
        return hidden


def log_mel(wave: torch.Tensor, filters: torch.Tensor) -> torch.Tensor:
    """Returns Kaldi's log-mel energies (F, M) float64 of a wave (S,) in [-1, 1].

    What transformers' SeamlessM4TFeatureExtractor computes with NumPy, frame by frame.
    """
    frames = (wave.double() * 2**15).unfold(0, WINDOW, HOP)  # (F, 400)
    frames = frames - frames.mean(1, keepdim=True)
    before = torch.cat([frames[:, :1], frames[:, :-1]], 1)
    frames = frames - 0.97 * before
    hann = torch.hann_window(WINDOW, periodic=False, dtype=torch.float64, device=wave.device)
    spectrum = torch.fft.rfft(frames * hann**0.85, FOURIER)  # (F, 257), Povey's window
    power = spectrum.real.square() + spectrum.imag.square()
    return (power @ filters).clamp(min=FLOOR).log()


def kaldi_filters(bands: int) -> torch.Tensor:
    """Returns the triangular mel filters (257, M) float64 of Kaldi's scale, 20 Hz to 8 kHz."""
    from transformers.audio_utils import mel_filter_bank

    filters = mel_filter_bank(
        num_frequency_bins=FOURIER // 2 + 1,
        num_mel_filters=bands,
        min_frequency=20,
        max_frequency=8_000,
        sampling_rate=16_000,
        norm=None,
        mel_scale="kaldi",
        triangularize_in_mel_space=True,
    )
    return torch.from_numpy(filters).double()
