"""What a speech encoder costs in floating-point operations, pruned and not, from shapes alone."""

from __future__ import annotations

from .pruning import PruningConfig, keep_counts, layer_rates


def encoder_flops(
    tokens: int,
    *,
    width: int,
    depth: int,
    ffn: int | None = None,
    pruning: PruningConfig | None = None,
    layers: int | None = None,
) -> float:
    """Returns the operations of the transformer layers for one utterance of `tokens` tokens.

    A layer costs ``8 n d^2`` for its projections and ``4 n^2 d`` for its attention over the n
    tokens that enter it, and ``4 m d f`` for its feed-forward part over the m that leave it.

    Args:
        tokens: tokens before any pruning.
        width: d, the model width.
        depth: number of layers of the encoder.
        ffn: f, width of the feed-forward part; 4 d unless given.
        pruning: what is dropped and where.
        layers: layers that run when the encoder stops early (truncation); all unless given.
    """
    hidden = 4 * width if ffn is None else ffn
    run = depth if layers is None else layers
    rates = layer_rates(pruning, run) if pruning is not None else {}
    k_min = pruning.k_min if pruning is not None else 1
    total, n = 0.0, tokens
    for layer in range(run):
        total += 8 * n * width**2 + 4 * n**2 * width
        if layer in rates:
            n = keep_counts([n], rates[layer], k_min)[0]
        total += 4 * n * width * hidden
    return total


def frontend_flops(
    samples: int, *, channels: list[int], kernels: list[int], strides: list[int], width: int
) -> float:
    """Returns the operations of the convolutions before the first layer and of their projection."""
    total, length, incoming = 0.0, samples, 1
    for channel, kernel, stride in zip(channels, kernels, strides, strict=True):
        length = max((length - kernel) // stride + 1, 0)
        total += 2 * length * incoming * channel * kernel
        incoming = channel
    return total + 2 * length * incoming * width
