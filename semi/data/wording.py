"""How a message spells things: names that are near, cells cut short, settings to paste, counts."""

from __future__ import annotations

import difflib
import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

WARNING = "warning: "  # how a note begins that a run must not pass over
VOTER = "outside voter "  # how a note about one of data.outside begins
MOST = 160  # letters of a cell in a setting to paste
LONG_NAME = re.compile(r"[^\s/\\,;:='\"()\[\]{}]{201,}")
LISTED = 8  # names that a sentence tells
NO_WORDS = ("true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan", "inf")  # in YAML


def warnings_in(notes: Iterable[str]) -> list[str]:
    """Returns the notes that warn."""
    return [note for note in notes if note.startswith(WARNING)]


def listed(names: Sequence[str], most: int = LISTED) -> str:
    """Returns names joined by commas, the first `most` of them and how many are left."""
    left = len(names) - most
    return ", ".join(names[:most]) + (f" and {left:,} more" if left > 0 else "")


def counted(count: int, word: str, one: str = "", many: str = "") -> str:
    """Returns a count with its noun, such as '1 class', '2 classes' or '1,200 rows'.

    What follows may depend on it: counted(n, "row", "is", "are").
    """
    if count == 1:
        return f"1 {word} {one}".rstrip()
    plural = word + ("es" if word.endswith(("s", "x", "ch")) else "s")
    if word.endswith("y") and word[-2] not in "aeiou":
        plural = f"{word[:-1]}ies"
    return f"{count:,} {plural} {many}".rstrip()


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns "; did you mean 'x'?" for the known name closest to `name`, or an empty string."""
    close = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.6)
    return f"; did you mean '{shown(close[0])}'?" if close else ""


def shown(value: object, most: int = 80) -> str:
    """Returns somebody's cell as a message may print it: one line of at most `most` characters."""
    text = value if isinstance(value, str) else str(value)
    cut = text if len(text) <= most else text[: most - 3] + "..."
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut)


def clipped(message: str) -> str:
    """Returns a message in which no name, such as a part of a path, has more than 200 letters."""
    return LONG_NAME.sub(lambda found: found[0][:160] + "...", message)


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
    text = text if len(text) <= MOST else shown(text, MOST)
    plain = text.replace("_", "").isalpha() and text.lower() not in NO_WORDS
    quoted = text if plain else json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else _escaped(c) for c in quoted)


def _escaped(char: str) -> str:
    """Returns a letter that shows nothing as YAML reads it back within quotes."""
    code = ord(char)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
