"""Every error a user can meet: one sentence that says what, where, what is allowed, the remedy."""

from __future__ import annotations

import difflib
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


class SemiError(Exception):
    """Base of all errors that are the input's fault; the command line prints it without a stack."""


class ConfigError(SemiError):
    """A setting is unknown, missing, of the wrong type or out of range."""


class ManifestError(SemiError):
    """The table of utterances, or the splits drawn from it, cannot be used."""

    problems: Sequence[Any] = ()  # everything that is wrong with the table, one Problem each
    reading: Any = None  # what was understood of the table all the same


class AudioError(SemiError):
    """One audio file cannot be used; the message is the reason written to the quarantine list."""


class EncoderError(SemiError):
    """An encoder's weights cannot be had or do not fit."""


class StoreError(SemiError):
    """The feature store is damaged or does not hold what was asked for."""


class RunError(SemiError):
    """A run directory is missing, busy, unfinished or belongs to another configuration."""


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
        value = "[" + ", ".join(_yaml(v) for v in value) + "]"
    return shlex.quote(f"{key}={value}")


def _yaml(value: object) -> str:
    """Returns a text as YAML reads it back: in quotes unless it is a plain word."""
    text = str(value)
    plain = text.replace("_", "").isalpha() and text.lower() not in NO_WORDS
    return text if plain else json.dumps(text, ensure_ascii=False)


NO_WORDS = ("true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan", "inf")  # in YAML
