"""Whole objects from device to device, for tests that compare what two devices make of them."""

import copy
import dataclasses

import torch


def moved(given, device):
    """Returns a copy of tensors, lists, dicts and dataclasses of them, on a device."""
    if isinstance(given, torch.Tensor):
        return given.to(device)
    if isinstance(given, dict):
        return {name: moved(value, device) for name, value in given.items()}
    if isinstance(given, (list, tuple)) and not hasattr(given, "_fields"):
        return type(given)(moved(value, device) for value in given)
    if dataclasses.is_dataclass(given) and not isinstance(given, type):
        other = copy.copy(given)
        for name, value in vars(given).items():
            setattr(other, name, moved(value, device))
        return other
    return given
