"""The next batch of sounds on its way to the GPU while the last one is encoded.

A thread prepares it and copies it on a stream of its own, from page-locked memory that PyTorch
keeps for the next copy; the network's stream waits for the copy, the host for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from .transport import Piece, upload


@dataclass
class PaddedBatch:
    """What goes through the network at once."""

    owners: list[int]  # (P,) the utterance of each piece
    pieces: list[Piece]  # (P,)
    waves: list[torch.Tensor] = field(default_factory=list)  # (P,) on the device, where staged
    copied: Any = None  # the event after which they are there


class StagedBatch(list[np.ndarray]):
    """Sounds, as any list of them, and what was sent ahead of them."""

    def __init__(self, sounds: Iterable[np.ndarray], padded: list[PaddedBatch]) -> None:
        super().__init__(sounds)
        self.padded = padded


def on_its_way(batch: PaddedBatch, device: torch.device) -> PaddedBatch:
    """Returns the batch, its waves being copied on the current stream."""
    waves = upload(batch.pieces, device)
    return PaddedBatch(
        batch.owners, batch.pieces, waves, torch.cuda.current_stream(device).record_event()
    )


def arrived(batch: PaddedBatch, device: torch.device) -> list[torch.Tensor]:
    """Returns the waves (S,) for use on the current stream; copies them where nobody has."""
    if batch.copied is None:
        return upload(batch.pieces, device)
    stream = torch.cuda.current_stream(device)
    stream.wait_event(batch.copied)
    for wave in batch.waves:
        wave.record_stream(stream)  # else their memory could be given away while it is read
    return batch.waves
