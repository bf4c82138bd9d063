"""Speech heard backwards: another view of the same utterance for an ensemble."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .base import Encoder


class ReversedSpeech:
    """An encoder that is given every wave from its end to its start."""

    def __init__(self, encoder: Any) -> None:
        self.encoder: Encoder = encoder
        self.modality: str = encoder.modality

    def __getattr__(self, name: str) -> Any:
        if name == "encoder":  # not built yet: a copy, an unpickled one
            raise AttributeError(name)
        return getattr(self.encoder, name)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one utterance's result, that of the encoder inside."""
        return self.encoder.shape

    def exact(self) -> ReversedSpeech:
        """Returns the same in float32."""
        inner: Any = self.encoder
        return ReversedSpeech(inner.exact())

    def identity(self) -> dict[str, Any]:
        """Returns the identity of the encoder inside, and that the waves were turned."""
        return {**self.encoder.identity(), "reverse": True}

    def encode(self, batch: list[np.ndarray]) -> torch.Tensor:
        """Returns `(B, *shape)` of the waves turned around."""
        return self.encoder.encode([np.asarray(wave)[::-1].copy() for wave in batch])

    def encode_frames(self, batch: list[np.ndarray]) -> list[torch.Tensor]:
        """Returns the frames `(T_b, D)` of the waves turned around, in the order heard."""
        frames: Any = self.encoder
        return frames.encode_frames([np.asarray(wave)[::-1].copy() for wave in batch])
