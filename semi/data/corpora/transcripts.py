"""Korean transcripts: the marks that transcribers leave beside the words."""

from __future__ import annotations

import re

# Sounds (b/ breath, l/ laughter, n/ noise, o/ u/ c/ s/ ...) and '+' for broken-off words.
TAG = re.compile(r"(?<![A-Za-z])[A-Za-z*+]/|[+*]")
TWO_WAYS = re.compile(r"\(([^()]*)\)\s*/\s*\([^()]*\)")  # (as written)/(as spoken)
ASIDE = re.compile(r"\([^()]*\)")


def strip_tags(text: str) -> str:
    """Returns the words alone: "b/ 아 (웃음) 그래+ 네" -> "아 그래 네"."""
    text = TWO_WAYS.sub(r"\1", text)
    text = TAG.sub(" ", ASIDE.sub(" ", text))
    return re.sub(r"\s+([.,?!])", r"\1", " ".join(text.split()))
