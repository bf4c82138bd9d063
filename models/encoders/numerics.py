"""How exact the numbers are: precision names, TF32, folded weight norm, and a measure of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize

M = TypeVar("M", bound=nn.Module)
DTYPES = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "int8": torch.float32,  # all but the products of its linear layers
}


def centred_cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns (N,) cosines of two sets (N, D) after each set's mean is taken away.

    The raw cosine of mean-pooled speech vectors is near 1 for anything.
    """
    a, b = a - a.mean(0), b - b.mean(0)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return (a * b).sum(1) / np.maximum(norms, 1e-12)


@contextlib.contextmanager
def exact_float32(device: torch.device) -> Iterator[None]:
    """Keeps float32 float32 on CUDA, where convolutions round to TF32 (1e-3) unless told not to.

    With TF32 a row's result would also depend on the batch it is in, by the kernel chosen for it.
    """
    if device.type != "cuda":
        yield
        return
    cudnn: Any = torch.backends.cudnn
    matmul: Any = torch.backends.cuda.matmul
    if hasattr(cudnn, "conv"):  # torch >= 2.9
        switches = [(owner, "fp32_precision", "ieee") for owner in (cudnn.conv, matmul)]
    else:
        switches = [(owner, "allow_tf32", False) for owner in (cudnn, matmul)]
    before = [getattr(owner, name) for owner, name, _ in switches]
    try:
        for owner, name, value in switches:
            setattr(owner, name, value)
        yield
    finally:
        for (owner, name, _), value in zip(switches, before, strict=True):
            setattr(owner, name, value)


def fold_weight_norm(model: M) -> M:
    """Returns the model, its weight-normed convolutions made plain ones; for inference only."""
    for parent in model.modules():
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv1d) and parametrize.is_parametrized(child, "weight"):
                setattr(parent, name, _plain(child))
    return model


@torch.no_grad()
def _plain(conv: nn.Conv1d) -> nn.Conv1d:
    plain = nn.Conv1d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size[0],
        conv.stride[0],
        conv.padding[0],
        conv.dilation[0],
        conv.groups,
        bias=conv.bias is not None,
    )
    plain.weight.copy_(conv.weight)
    if conv.bias is not None and plain.bias is not None:
        plain.bias.copy_(conv.bias)
    return plain.train(conv.training)
