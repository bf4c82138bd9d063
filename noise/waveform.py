"""Corruptions of waveforms (..., samples) that keep the emotion: no pitch or speed changes.

Pitch and tempo carry the label, so neither is touched here.
"""

from __future__ import annotations

import torch
from torch import Tensor


def add_noise(
    wave: Tensor, noise: Tensor, snr_db: float, generator: torch.Generator | None = None
) -> Tensor:
    """Returns `wave` plus `noise` scaled to `snr_db` decibels below it.

    The noise (samples',) starts at a random place and repeats where it is too short. The ratio is
    of mean powers over the whole wave; a silent wave or a silent noise is returned unchanged.
    """
    samples = wave.shape[-1]
    if noise.shape[-1] == 0 or samples == 0:
        return wave.clone()
    start = torch.randint(noise.shape[-1], (1,), generator=generator, device=noise.device)
    place = (start + torch.arange(samples, device=noise.device)) % noise.shape[-1]
    noise = noise[..., place]
    power = wave.square().mean(-1, keepdim=True)
    noise_power = noise.square().mean(-1, keepdim=True)
    factor = (power / noise_power.clamp(min=1e-20) / 10 ** (snr_db / 10)).sqrt()
    return wave + torch.where(noise_power > 0, factor, 0.0) * noise


def gain(wave: Tensor, decibels: float) -> Tensor:
    """Returns `wave` made louder (or softer, if negative) by `decibels`."""
    return wave * 10 ** (decibels / 20)


def time_mask(
    wave: Tensor,
    seconds: float,
    sample_rate: int = 16_000,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Returns `wave` with one stretch of up to `seconds` silenced, at a random place.

    At most half of the wave is ever silenced.
    """
    if seconds < 0:
        raise ValueError(f"seconds must be >= 0, got {seconds}")
    samples = wave.shape[-1]
    longest = min(int(seconds * sample_rate), samples // 2)
    u = torch.rand(2, generator=generator, device=wave.device)
    length = (u[0] * (longest + 1)).floor()
    start = (u[1] * (samples - length + 1)).floor()
    place = torch.arange(samples, device=wave.device)
    return wave.masked_fill((place >= start) & (place < start + length), 0.0)


def reverse(wave: Tensor) -> Tensor:
    """Returns `wave` played backwards."""
    return wave.flip(-1)
