"""Every error a user can meet: one sentence that says what, where, what is allowed, the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SemiError(Exception):
    """Base of all errors that are the input's fault; the command line prints it without a stack."""


class ConfigError(SemiError):
    """A setting is unknown, missing, of the wrong type or out of range."""


class ManifestError(SemiError):
    """The table of utterances, or the splits drawn from it, cannot be used."""


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
