"""How host values come to the device: in copies that neither the host nor the device waits for."""

from __future__ import annotations

import torch


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Returns a host tensor on the device, on CUDA by way of page-locked memory.

    From any other memory the driver first waits for what the device has still to do.
    """
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def host_rows(rows: list[list[int]], device: torch.device) -> torch.Tensor:
    """Returns R lists of B host integers as (R, B) int64 on the device, in one copy."""
    return sent(torch.tensor(rows, dtype=torch.int64), device)


def host_tensor(values: list[int], device: torch.device) -> torch.Tensor:
    """Returns B host integers as (B,) int64 on the device."""
    return sent(torch.tensor(values, dtype=torch.int64), device)


def before(ends: torch.Tensor, width: int) -> torch.Tensor:
    """Returns (B, width) bool, True before each row's end (B,)."""
    return torch.arange(width, device=ends.device)[None] < ends[:, None]
