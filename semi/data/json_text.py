"""JSON that somebody else wrote: what Python's reader lets through or trips over is one error."""

from __future__ import annotations

import json
from typing import Any

DIGITS = 300  # of a whole number; beyond them no float holds it, and Python refuses some


def loads(text: str | bytes, **how: Any) -> Any:
    """Returns what a JSON text holds; JSONDecodeError where it is none or its numbers have no end.

    Args:
        text: the JSON.
        how: as of `json.loads`.
    """
    return json.loads(text, parse_int=_integer, **how)


def _integer(digits: str) -> int:
    if len(digits) > DIGITS:
        raise json.JSONDecodeError(f"a number of {len(digits):,} digits", digits, 0)
    return int(digits)
