"""How a message spells things: names that are near, cells cut short, settings to paste, counts."""

from __future__ import annotations

import difflib
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

WARNING = "warning: "  # how a note begins that a run must not pass over
LISTED = 8  # names that a sentence tells
NO_WORDS = ("true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan", "inf")  # in YAML


def warnings_in(notes: Iterable[str]) -> list[str]:
    """Returns the notes that warn."""
    return [note for note in notes if note.startswith(WARNING)]


def listed(names: Sequence[str], most: int = LISTED) -> str:
    """Returns names joined by commas, the first `most` of them and how many are left."""
    left = len(names) - most
    return ", ".join(names[:most]) + (f" and {left:,} more" if left > 0 else "")


def counted(count: int, word: str) -> str:
    """Returns a count with its noun, such as '1 class', '2 classes' or '1,200 rows'."""
    if count == 1:
        return f"1 {word}"
    plural = word + ("es" if word.endswith(("s", "x", "ch")) else "s")
    return f"{count:,} {plural}"


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns "; did you mean 'x'?" for the known name closest to `name`, or an empty string."""
    close = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


def shown(value: object, most: int = 80) -> str:
    """Returns somebody's cell as a message may print it: one line of at most `most` characters."""
    text = value if isinstance(value, str) else str(value)
    cut = text if len(text) <= most else text[: most - 3] + "..."
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut)


def setting(key: str, value: Any) -> str:
    """Returns `key=value` as it can be pasted into a shell, quoted where the shell needs it."""
    if isinstance(value, Mapping):
        pairs = (f"{_yaml(k)}: {_yaml(v)}" for k, v in value.items())
        value = "{" + ", ".join(pairs) + "}"
    elif isinstance(value, (list, tuple)):
        value = "[" + ",".join(_yaml(v) for v in value) + "]"
    return shlex.quote(f"{key}={value}")


def _yaml(value: object) -> str:
    """Returns a text as YAML reads it back: in quotes unless it is a plain word."""
    text = str(value)
    plain = text.replace("_", "").isalpha() and text.lower() not in NO_WORDS
    quoted = text if plain else json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else _escaped(c) for c in quoted)


def _escaped(char: str) -> str:
    """Returns a letter that shows nothing as YAML reads it back within quotes."""
    code = ord(char)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
