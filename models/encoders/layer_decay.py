"""Learning rates that fall from the last layer to the first: what lies deeper changes less."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn


def layer_decay_groups(
    encoder: nn.Module,
    layers: Sequence[nn.Module],
    *,
    lr: float,
    decay: float,
    weight_decay: float,
) -> list[dict[str, Any]]:
    """Returns AdamW's parameter groups of what may learn in an encoder.

    Layer k of L learns at ``lr * decay ** (L - 1 - k)``, what comes before the first layer at
    ``lr * decay ** L`` (https://arxiv.org/abs/1801.06146, section 3.2). Vectors (biases, norms)
    are not decayed towards zero.

    Args:
        encoder: the whole encoder.
        layers: its layers that are used, first to last.
        lr: rate of the last layer.
        decay: factor from a layer to the one before, in (0, 1].
        weight_decay: of matrices.
    """
    number = {id(p): k for k, layer in enumerate(layers) for p in layer.parameters()}
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for parameter in encoder.parameters():
        if parameter.requires_grad:
            layer = number.get(id(parameter), -1)
            groups.setdefault((layer, parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": lr * decay ** (len(layers) - 1 - layer),
            "weight_decay": weight_decay if matrix else 0.0,
        }
        for (layer, matrix), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]
