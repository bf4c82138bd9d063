"""What encoders say of the files they were opened from, and of rows that lack their modality."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..data.wording import counted

if TYPE_CHECKING:
    from models.encoders import Encoder


def encoder_notes(encoders: dict[str, Encoder]) -> list[str]:
    """Returns what each encoder says of files that are read otherwise, or say nothing."""
    return [note for encoder in encoders.values() for note in getattr(encoder, "notes", [])]


def nothing_usable(name: str, kind: str, wanted: int = 0, example: str = "") -> str:
    """Returns the sentence on a modality that no row has, or of which no row can be used.

    Args:
        name: of the modality.
        kind: audio | text | array.
        wanted: rows that name something.
        example: the first reason why one cannot be used.
    """
    what = "has no row with"
    if wanted:
        what = f"lists {counted(wanted, 'row')}, none of which has usable"
    first = f" (first reason: {example})" if example else ""
    place = f"the column {'audio' if kind == 'speech' else kind}"
    if kind == "array":
        place = f"the arrays of {name}, or their ids"
    known = name in ("speech", "text")
    off = f"encoders.{name}.model=none" if known else f"no encoders.extra.{name}"
    return f"The manifest {what} {name}{first}; fix {place}, or leave the modality out with {off}"
