"""Noise schedules: the share of signal variance left after each timestep.

Forward diffusion keeps x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps with
abar_t = prod_{s<=t} (1 - beta_s) (https://arxiv.org/abs/2006.11239).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .config import check_schedule


def linear(steps: int, beta_start: float, beta_end: float) -> Tensor:
    """Returns abar (steps,) for beta growing linearly."""
    return _product(torch.linspace(beta_start, beta_end, steps, dtype=torch.float64))


def scaled_linear(steps: int, beta_start: float, beta_end: float) -> Tensor:
    """Returns abar (steps,) for the square root of beta growing linearly."""
    root = torch.linspace(beta_start**0.5, beta_end**0.5, steps, dtype=torch.float64)
    return _product(root**2)


def cosine(steps: int, beta_start: float = 0.0, beta_end: float = 0.0) -> Tensor:
    """Returns abar (steps,) of the squared cosine, beta capped at 0.999 (arxiv.org/abs/2102.09672).

    The betas of the configuration do not enter.
    """
    t = torch.arange(steps + 1, dtype=torch.float64) / max(steps, 1)
    signal = torch.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2
    return _product((1 - signal[1:] / signal[:-1]).clamp(max=0.999))


def sigmoid(steps: int, beta_start: float, beta_end: float) -> Tensor:
    """Returns abar (steps,) for beta following a sigmoid from -6 to 6."""
    rise = torch.sigmoid(torch.linspace(-6, 6, steps, dtype=torch.float64))
    return _product(rise * (beta_end - beta_start) + beta_start)


SCHEDULES: dict[str, Callable[[int, float, float], Tensor]] = {
    "linear": linear,
    "scaled_linear": scaled_linear,
    "cosine": cosine,
    "sigmoid": sigmoid,
}


def alpha_bar(schedule: str, steps: int, beta_start: float, beta_end: float) -> Tensor:
    """Returns the named schedule's abar (steps,) float32; an unknown name lists the known ones."""
    check_schedule(schedule)
    return SCHEDULES[schedule](steps, beta_start, beta_end)


def _product(beta: Tensor) -> Tensor:
    # in float64: a product of hundreds of factors close to 1 loses digits in float32
    return torch.cumprod(1 - beta, 0).float()
