"""Griffe extension: the comment behind a field becomes its description.

The dataclasses of this project say the shape of a field in a comment on its line, which readers of
the API reference would not see otherwise.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

MARKS = re.compile(r"\s+(noqa|pyright:|type:|fmt:).*")


class Comments(griffe.Extension):
    """Fills `docstring` of attributes that have none."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: Any) -> None:
        """Takes the comment that ends the attribute's last line."""
        if attr.docstring is not None or attr.endlineno is None:
            return
        try:
            line = attr.lines_collection[attr.filepath][attr.endlineno - 1]
        except (KeyError, IndexError, ValueError):
            return
        _, mark, comment = line.partition("  # ")
        comment = MARKS.sub("", f" {comment}").strip()
        if mark and comment:
            attr.docstring = griffe.Docstring(comment, parent=attr)
