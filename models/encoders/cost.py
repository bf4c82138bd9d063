"""What one utterance costs in a given encoder: front end and layers, pruned or stopped early."""

from __future__ import annotations

from typing import Any

from .backbone import Backbone
from .flops import encoder_flops, frontend_flops
from .pruning import PruningConfig
from .whisper import WINDOW


def operations(
    backbone: Backbone, samples: int, *, last: int, pruning: PruningConfig | None = None
) -> float:
    """Returns the floating-point operations of one un-padded piece of `samples` samples.

    Args:
        backbone: the encoder.
        samples: at 16 kHz.
        last: layers that run.
        pruning: token pruning, None for none.
    """
    config: Any = backbone.config
    width = backbone.width
    samples = max(samples, backbone.shortest)
    if config.model_type == "whisper":
        tokens = -(-samples // 320)
        bands = config.num_mel_bins
        # two convolutions of kernel 3 on 2 T frames, the second with stride 2
        front = 2.0 * 2 * tokens * width * 3 * (bands + width / 2)
        front += 2.0 * 2 * tokens * bands * (WINDOW // 2 + 1)  # mel filters
        hidden = config.encoder_ffn_dim
    else:
        shapes = {"channels": list(config.conv_dim), "kernels": list(config.conv_kernel)}
        front = frontend_flops(samples, **shapes, strides=list(config.conv_stride), width=width)
        tokens, hidden = backbone.frames(samples), config.intermediate_size  # pyright: ignore[reportCallIssue]
        taps, groups = config.num_conv_pos_embeddings, config.num_conv_pos_embedding_groups
        front += 2.0 * tokens * width * (width // groups) * taps
    return front + encoder_flops(
        tokens, width=width, depth=backbone.depth, ffn=hidden, pruning=pruning, layers=last
    )
