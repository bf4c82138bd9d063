"""What results that print as tables have in common: a notebook shows them as HTML ones."""

from __future__ import annotations


class ShownAsTables:
    """A result whose `str` holds aligned tables."""

    def _repr_html_(self) -> str:
        """Returns what a notebook shows: the same as tables."""
        from .notebook import words_html  # it takes Jinja, which a command does not need

        return words_html(str(self))
