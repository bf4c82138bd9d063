"""What decides how exact the numbers are: precision names, TF32, folded weight norm."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.utils import parametrize

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@contextlib.contextmanager
def exact_float32(device: torch.device) -> Iterator[None]:
    """Keeps float32 float32 on CUDA, where convolutions round to TF32 (1e-3) unless told not to.

    With TF32 a row's result would also depend on the batch it is in, by the kernel chosen for it.
    """
    if device.type != "cuda":
        yield
        return
    if hasattr(torch.backends.cudnn, "conv"):  # torch >= 2.9
        switches = [(torch.backends.cudnn.conv, "fp32_precision", "ieee")]
        switches.append((torch.backends.cuda.matmul, "fp32_precision", "ieee"))
    else:
        switches = [(torch.backends.cudnn, "allow_tf32", False)]
        switches.append((torch.backends.cuda.matmul, "allow_tf32", False))
    before = [getattr(owner, name) for owner, name, _ in switches]
    try:
        for owner, name, value in switches:
            setattr(owner, name, value)
        yield
    finally:
        for (owner, name, _), value in zip(switches, before, strict=True):
            setattr(owner, name, value)


def fold_weight_norm(model: nn.Module) -> nn.Module:
    """Returns the model with its weight-normed weights computed once, for inference only."""
    for module in model.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    return model
