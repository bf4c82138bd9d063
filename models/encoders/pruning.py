"""Token pruning inside a speech encoder: what is asked for, how many tokens stay, and the step itself."""

from __future__ import annotations

from dataclasses import dataclass

METHOD_NAMES = ("none", "merge", "topk_merge", "topk", "fuse", "stride")
SCHEDULE_NAMES = ("one_shot", "constant", "linear")
SCORE_NAMES = ("received", "value_received")


@dataclass
class PruningConfig:
    """How many speech tokens are KEPT, where, and what becomes of the others."""

    method: str = "none"
    """none | merge (similar neighbours) | topk_merge | topk | fuse | stride."""
    keep_rate: float = 1.0
    """Share of the tokens kept, in (0, 1]; a keep rate, never a pruning rate."""
    layer: int | None = None
    """Layer (0-based) after whose attention tokens are first dropped; null = a quarter of the depth."""
    k_min: int = 16
    """An utterance is never shortened below this many tokens (16 tokens = 0.32 s of HuBERT)."""
    schedule: str = "one_shot"
    """one_shot | constant (keep_rate again at every layer) | linear (min_keep_rate to keep_rate)."""
    min_keep_rate: float | None = None
    """Keep rate of the first pruning layer of schedule linear; the last one has keep_rate."""
    last_layer: int | None = None
    """Last pruning layer of the schedules constant and linear; null = the encoder's last."""
    score: str = "received"
    """Importance of a token: attention received, or weighted by its value (value_received)."""
    proportional_attention: bool = True
    """A token that stands for m frames counts m times as a key of the attention that follows."""

    def __post_init__(self) -> None:
        """Refuses values out of range, each in one sentence that names the field."""
        for name, known in (
            ("method", METHOD_NAMES),
            ("schedule", SCHEDULE_NAMES),
            ("score", SCORE_NAMES),
        ):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}"
                )
        if not 0 < self.keep_rate <= 1:
            raise ValueError(f"keep_rate must be in (0, 1], got {self.keep_rate}")
        if self.k_min < 1:
            raise ValueError(f"k_min must be at least 1, got {self.k_min}")
        if self.layer is not None and self.layer < 0:
            raise ValueError(f"layer must be 0 or more (0-based), got {self.layer}")
        if self.last_layer is not None and self.last_layer < (self.layer or 0):
            raise ValueError(f"last_layer must not come before layer, got {self.last_layer}")
        if self.schedule == "linear" and self.min_keep_rate is None:
            raise ValueError("min_keep_rate must be set for schedule linear, got null")
        if self.min_keep_rate is not None and not 0 < self.min_keep_rate <= self.keep_rate:
            raise ValueError(
                f"min_keep_rate must be in (0, keep_rate={self.keep_rate}], got {self.min_keep_rate}"
            )

    @property
    def active(self) -> bool:
        """True when some token may be dropped."""
        return self.method != "none" and min(self.keep_rate, self.min_keep_rate or 1.0) < 1
