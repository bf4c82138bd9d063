"""Settings of `semi finetune`: which part of which encoder learns, and how."""

from __future__ import annotations

from dataclasses import dataclass, field

TRAINED_PARTS = ("none", "top", "whole", "lora")


def _check(ok: bool, sentence: str) -> None:
    if not ok:
        raise ValueError(sentence)


@dataclass
class FinetuneConfig:
    """Adapting the encoders to the gold training rows; used by `semi finetune` alone."""

    speech: str = "top"
    """Part of the speech encoder that learns: none | top | whole | lora (needs peft)."""
    text: str = "none"
    """Part of the text encoder that learns: none | top | whole | lora (needs peft)."""
    top_layers: int = 2
    """top: so many of the last layers that are used."""
    lora_rank: int = 8
    """lora: rank of the adapters in every attention."""
    lora_alpha: float = field(default=16.0, metadata={"constant": True})
    """lora: their scale is lora_alpha / lora_rank."""
    steps: int = 300
    """Optimiser steps."""
    batch: int = 8
    """Utterances at once, over all processes together."""
    accumulate: int = 2
    """Such batches summed up for one optimiser step."""
    lr: float = 3e-5
    """Learning rate of the last layer; linear warm-up, then cosine to zero (lora: try 3e-4)."""
    head_lr: float = 1e-3
    """Learning rate of the class head, which starts from nothing and is thrown away."""
    layer_decay: float = 0.9
    """Each layer learns at this share of the rate of the layer after it."""
    weight_decay: float = 0.01
    """AdamW weight decay on matrices; never on norms and biases."""
    warmup: float = 0.1
    """Share of the steps spent warming up."""
    clip: float = 1.0
    """Largest gradient norm; 0 = no clipping."""
    label_smoothing: float = 0.05
    """Share of every target spread evenly over the classes."""
    contrast: float = 0.0
    """Weight of the contrastive loss between speech and text, where both learn."""
    tau: float = field(default=0.1, metadata={"constant": True})
    """Temperature of that loss."""
    max_seconds: float = 10.0
    """Longer sounds are cut at random to this while training."""
    checkpointing: bool = False
    """Compute layers again for their gradients: about a third slower, far less memory."""
    prune_start: float = 0.1
    """With encoders.speech.pruning: share of the steps before the first token is dropped."""
    prune_end: float = 0.5
    """From this share on the full pruning holds; a cosine leads there."""
    watch: bool = True
    """Keep one out-of-fold part (whole speakers) out and report macro-F1 on it."""
    save_every: int = 50
    """Steps between checkpoints, from which --resume goes on."""

    def __post_init__(self) -> None:
        """Raises ValueError naming the first field out of range."""
        for name in ("speech", "text"):
            part = getattr(self, name)
            _check(
                part in TRAINED_PARTS,
                f"{name} must be one of {', '.join(TRAINED_PARTS)}, got {part!r}",
            )
        for name in ("top_layers", "lora_rank", "steps", "batch", "accumulate", "save_every"):
            value = getattr(self, name)
            _check(value >= 1, f"{name} must be at least 1, got {value}")
        for name in ("lora_alpha", "lr", "head_lr", "tau", "max_seconds"):
            value = getattr(self, name)
            _check(value > 0, f"{name} must be positive, got {value}")
        for name in ("weight_decay", "clip", "contrast"):
            value = getattr(self, name)
            _check(value >= 0, f"{name} must be >= 0, got {value}")
        _check(0 < self.layer_decay <= 1, f"layer_decay must be in (0, 1], got {self.layer_decay}")
        for name in ("warmup", "label_smoothing"):
            value = getattr(self, name)
            _check(0 <= value < 1, f"{name} must be in [0, 1), got {value}")
        _check(
            0 <= self.prune_start <= self.prune_end <= 1,
            f"prune_start and prune_end must be rising in [0, 1], got {self.prune_start} and "
            f"{self.prune_end}",
        )
        _check(
            not self.contrast or "none" not in (self.speech, self.text),
            "contrast needs both encoders to learn: set speech and text to top, whole or lora",
        )
