"""Settings of the noise that makes a second view of an embedding; no torch needed to read them."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field

SCHEDULE_NAMES = ("linear", "scaled_linear", "cosine", "sigmoid")


@dataclass
class NoiseConfig:
    """How embeddings are corrupted in training; features are standardised before (0 = mean)."""

    schedule: str = "scaled_linear"
    """linear | scaled_linear | cosine | sigmoid: how fast the signal fades over the timesteps."""
    steps: int = 100
    """Number of diffusion timesteps; 0 switches Gaussian noise off."""
    beta_start: float = 1e-3
    """Noise variance added at the first timestep (not used by cosine)."""
    beta_end: float = 0.1
    """Noise variance added at the last timestep (not used by cosine)."""
    abar_min: float = field(default=0.5, metadata={"constant": True})
    """Smallest share of signal variance a noisy view keeps: 0.5 is a signal-to-noise ratio >= 1."""
    impulse: float = 0.05
    """Probability that a dimension is hit by an impulse."""
    impulse_size: float = field(default=3.0, metadata={"constant": True})
    """Height of an impulse, in standard deviations."""
    dim_mask: float = 0.15
    """Probability that a dimension is masked (set to its mean, 0)."""
    modality_dropout: float = 0.2
    """Probability that a modality of an utterance is hidden in training (never all of them)."""
    mixup_alpha: float = 0.0
    """Beta(a, a) parameter of feature mixup; 0 switches mixup off."""

    def __post_init__(self) -> None:
        check_schedule(self.schedule)
        if self.steps < 0:
            raise ValueError(f"steps must be >= 0, got {self.steps}")
        if not 0 < self.beta_start <= self.beta_end < 1:
            raise ValueError(
                "beta_start and beta_end must satisfy 0 < beta_start <= beta_end < 1, "
                f"got {self.beta_start} and {self.beta_end}"
            )
        if not 0 <= self.abar_min < 1:
            raise ValueError(f"abar_min must be in [0, 1), got {self.abar_min}")
        for name in ("impulse", "dim_mask"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}")
        if self.impulse + self.dim_mask > 1:
            raise ValueError(
                "impulse + dim_mask must be at most 1 (no dimension gets both), "
                f"got {self.impulse} + {self.dim_mask}"
            )
        if not 0 <= self.modality_dropout < 1:
            raise ValueError(f"modality_dropout must be in [0, 1), got {self.modality_dropout}")
        for name in ("impulse_size", "mixup_alpha"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be >= 0, got {getattr(self, name)}")


def check_schedule(name: str) -> None:
    """Raises a ValueError naming the known schedules if `name` is not one of them."""
    if name not in SCHEDULE_NAMES:
        close = difflib.get_close_matches(str(name), SCHEDULE_NAMES, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        raise ValueError(f"schedule must be one of {', '.join(SCHEDULE_NAMES)}, got '{name}'{hint}")
