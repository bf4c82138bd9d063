"""Sentences about the rows of a run: which of them are warnings, and counts as people say them."""

from __future__ import annotations

from collections.abc import Iterable

WARNING = "warning: "  # how a note begins that a run must not pass over


def warnings_in(notes: Iterable[str]) -> list[str]:
    """Returns the notes that warn."""
    return [note for note in notes if note.startswith(WARNING)]


def counted(count: int, word: str) -> str:
    """Returns a count with its noun, such as '1 class', '2 classes' or '1,200 rows'."""
    if count == 1:
        return f"1 {word}"
    plural = word + ("es" if word.endswith(("s", "x", "ch")) else "s")
    return f"{count:,} {plural}"
