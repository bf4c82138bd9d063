"""Many small tensors to and from a device in one copy of each type: each copy is waited for."""

from __future__ import annotations

import torch
from torch import Tensor


def to_device(tensors: dict[str, Tensor], device: torch.device | str) -> dict[str, Tensor]:
    """Returns the tensors on a device; on a GPU those of one type lie in one piece of memory."""
    device = torch.device(device)
    if device.type == "cpu":
        return {name: value.to(device) for name, value in tensors.items()}
    return _together(tensors, device)


def to_host(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns the tensors on the CPU, contiguous and without gradients."""
    tensors = {name: value.detach() for name, value in tensors.items()}
    if all(value.device.type == "cpu" for value in tensors.values()):
        return {name: value.contiguous() for name, value in tensors.items()}
    return _together(tensors, torch.device("cpu"))


def _together(tensors: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    moved: dict[str, Tensor] = {}
    for dtype in {value.dtype for value in tensors.values()}:
        alike = {name: value for name, value in tensors.items() if value.dtype == dtype}
        flat = torch.cat([value.reshape(-1) for value in alike.values()]).to(device)
        parts = flat.split([value.numel() for value in alike.values()])
        moved |= {
            name: part.view(value.shape)
            for (name, value), part in zip(alike.items(), parts, strict=True)
        }
    return {name: moved[name] for name in tensors}
