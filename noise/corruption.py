"""Noisy views of standardised embeddings: Gaussian by timestep, impulses, masked dimensions, mixup.

Every function takes an explicit generator. They are meant to be called once per step on (B, D),
outside `torch.func.vmap`; the model receives the finished tensors.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .config import NoiseConfig
from .schedules import alpha_bar


class Corruption:
    """Draws a noisy view of standardised features; holds the schedule's tables.

    Each sample gets its own timestep, uniform over those that keep at least `abar_min` of the
    signal's variance, so that a positive pair still shows the same utterance.
    """

    def __init__(self, config: NoiseConfig | None = None, device: str | torch.device = "cpu"):
        self.config = config = config or NoiseConfig()
        table = alpha_bar(config.schedule, config.steps, config.beta_start, config.beta_end)
        table = table[table >= config.abar_min]
        if config.steps > 0 and len(table) == 0:
            raise ValueError(
                f"abar_min={config.abar_min} leaves no timestep of schedule '{config.schedule}' "
                f"with steps={config.steps}; lower abar_min, or set steps=0 for no Gaussian noise"
            )
        self.signal = table.sqrt().to(device)  # (T',)
        self.noise = (1 - table).sqrt().to(device)  # (T',)

    def to(self, device: str | torch.device) -> Corruption:
        """Returns itself with its tables moved to `device`."""
        self.signal, self.noise = self.signal.to(device), self.noise.to(device)
        return self

    def __call__(
        self, x: Tensor, generator: torch.Generator | None = None, *, sample_dims: int = 1
    ) -> Tensor:
        """Returns a noisy copy of `x` (B, D), or of (E, B, D) with `sample_dims=2`.

        The leading `sample_dims` dimensions count samples; all later ones share a timestep.
        """
        config = self.config
        hits = config.impulse + config.dim_mask
        sign_or_noise = None
        out = x
        if config.steps > 0 or config.impulse > 0:
            sign_or_noise = torch.randn(
                x.shape, device=x.device, dtype=x.dtype, generator=generator
            )
        if config.steps > 0 and sign_or_noise is not None:
            t = self.timesteps(tuple(x.shape[:sample_dims]), generator)  # (B,)
            t = t.view(t.shape + (1,) * (x.dim() - sample_dims))  # (B, 1)
            out = self.signal[t].to(x.dtype) * x + self.noise[t].to(x.dtype) * sign_or_noise
        if hits > 0:
            u = torch.rand(x.shape, device=x.device, dtype=torch.float32, generator=generator)
            if config.dim_mask > 0:
                out = out.masked_fill(u < hits, 0.0)
            if config.impulse > 0 and sign_or_noise is not None:
                # the sign of the Gaussian is free to use: the value it belongs to is overwritten
                spike = torch.full_like(x, config.impulse_size).copysign(sign_or_noise)
                out = torch.where(u < config.impulse, spike, out)
        return out if out is not x else x.clone()

    def timesteps(self, shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
        """Returns one random timestep index per sample, of the given shape."""
        return torch.randint(
            len(self.signal), shape, device=self.signal.device, generator=generator
        )


def modality_dropout(present: Tensor, p: float, generator: torch.Generator | None = None) -> Tensor:
    """Returns `present` (..., M) bool with modalities hidden with probability `p`.

    Where all present modalities would go, one of them, drawn uniformly, stays; a row without any
    modality stays as it is.
    """
    u = torch.rand(present.shape, device=present.device, generator=generator)
    best = u.masked_fill(~present, -1.0).amax(-1, keepdim=True)
    # the largest draw survives always; if any draw passes p, the largest is among those that do
    return present & ((u >= p) | (u == best))


@dataclass
class Mix:
    """A drawn mixup: every row is blended with one partner, the same for all its modalities."""

    partner: Tensor  # (B,) int64
    share: Tensor  # (B,) share of the row itself, in [0.5, 1]

    def __call__(self, x: Tensor, present: Tensor | None = None) -> Tensor:
        """Returns the blend of `x` (B, ...); with `present` (B,) only where both rows have it."""
        share = self.share.to(x.dtype).view((-1,) + (1,) * (x.dim() - 1))
        mixed = share * x + (1 - share) * x[self.partner]
        if present is None:
            return mixed
        both = (present & present[self.partner]).view(share.shape)
        return torch.where(both, mixed, x)


def draw_mix(
    rows: int,
    alpha: float,
    generator: torch.Generator | None = None,
    device: str | torch.device = "cpu",
) -> Mix:
    """Returns partners and Beta(alpha, alpha) shares for `rows` rows; alpha=0 mixes nothing.

    The share is max(l, 1 - l) as in MixMatch (https://arxiv.org/abs/1905.02249), so a row stays
    mostly itself; apply the same Mix to features and to targets.
    """
    if alpha < 0:
        raise ValueError(f"alpha must be >= 0, got {alpha}")
    if alpha == 0:
        return Mix(torch.arange(rows, device=device), torch.ones(rows, device=device))
    partner = torch.randperm(rows, device=device, generator=generator)
    # float64: Gamma draws with a small shape underflow in float32, and 0 / 0 would be NaN
    shape = torch.full((2, rows), alpha, dtype=torch.float64, device=device)
    # torch.distributions takes no generator; this is what its Gamma calls
    gamma = torch._standard_gamma(shape, generator=generator)  # pyright: ignore[reportPrivateImportUsage]
    draw = gamma.clamp(min=1e-300)
    share = draw[0] / draw.sum(0)
    return Mix(partner, torch.maximum(share, 1 - share).float())
