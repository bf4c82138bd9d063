"""What encoders say of the files they were opened from."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models.encoders import Encoder


def encoder_notes(encoders: dict[str, Encoder]) -> list[str]:
    """Returns what each encoder says of files that are read otherwise, or say nothing."""
    return [note for encoder in encoders.values() for note in getattr(encoder, "notes", [])]
