"""Settings of students, of `semi distill` and at the end of a run: how they believe teachers."""

from __future__ import annotations

from dataclasses import dataclass

MATCHES = ("kl", "mse")


@dataclass
class DistillConfig:
    """A student of another run's model (`semi distill`), or of the run itself (`final`)."""

    teacher: str = ""
    """Run folder of the teacher; written down by `semi distill`."""
    final: bool = False
    """End `semi train` with one student of all folds; it ships if the gate does not object.

    Smaller and faster; on Emo-DB 2 points below the mean over folds, which out-of-fold scores
    cannot see. Linear models (discriminant, logistic): their last chain ships alone instead.
    """
    temperature: float = 2.0
    """Teacher and student are both divided by it: T^2 KL(softmax(z_t / T) || softmax(z_s / T))."""
    match: str = "kl"
    """kl (of probabilities at `temperature`) | mse (of raw logits, as published systems do)."""
    alpha: float = 0.5
    """Weight of a gold row's given label; 1 - alpha is that of the teacher's word on it."""
    pool_weight: float = 1.0
    """Weight of a pool row beside a gold row's 1 (select.mass_cap bounds them all together)."""

    def __post_init__(self) -> None:
        """Raises ValueError naming the first field out of range."""
        if self.match not in MATCHES:
            raise ValueError(f"match must be {' or '.join(MATCHES)}, got '{self.match}'")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must be in [0, 1], got {self.alpha}")
        if not self.pool_weight >= 0:
            raise ValueError(f"pool_weight must be >= 0, got {self.pool_weight}")
