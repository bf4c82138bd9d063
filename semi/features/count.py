"""What became of the rows of one modality in an extraction."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Count:
    """What became of one modality's rows."""

    rows: int = 0  # rows of the manifest that have this modality
    done: int = 0  # encoded now
    cached: int = 0  # in the store already
    quarantined: int = 0  # cannot be used
    seconds: float = 0.0  # it took
    audio_seconds: float = 0.0  # of the usable rows
    store: str = ""  # the folder
    exactness: str = ""  # in 16 or 8 bits: how near the new vectors are to those of float32
