"""What results that print as tables have in common: a prompt and a notebook show them, too."""

from __future__ import annotations


class ShownAsTables:
    """A result whose `str` holds aligned tables; a dataclass of it says `repr=False`."""

    def __repr__(self) -> str:
        """Returns what a prompt shows: the same as is printed."""
        return str(self)

    def _repr_html_(self) -> str:
        """Returns what a notebook shows: the same as tables."""
        from .notebook import words_html  # it takes Jinja, which a command does not need

        return words_html(str(self))
