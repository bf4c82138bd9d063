"""What a JSON file must hold, for files that no checksum vouches for; read as a sentence or whole.

A shape looks like the JSON: `{"round": int, "notes": [str], "rule?": (str, None)}`. A type stands
for a value of it, a list for a list of such values, a tuple for one of several, `{str: shape}` for
entries of any name, and a name that ends in `?` for an entry that may be missing. Entries that a
shape does not name are let through: a later version may have added them.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from .errors import RunError
from .files import ANEW, read_json

NUMBER = (float, None)  # NaN is written as null
TYPE_NAMES = {
    int: "a whole number", float: "a number", str: "a text", bool: "true or false",
    list: "a list", dict: "a JSON object", None: "null",
}  # fmt: skip
LARGEST = 2**53  # of a whole number: those beyond are no count of ours
SHOWN = 60  # letters of a value that a message shows


def read_shaped(path: str | Path, shape: Any, default: Any = None, remedy: str = ANEW) -> Any:
    """Returns what a JSON file holds, or `default` where there is none; RunError where it misfits.

    Args:
        path: the file.
        shape: see the top of this file.
        default: returned in place of a missing file.
        remedy: what to do about a misfit.
    """
    if not Path(path).is_file():
        return default
    value = read_json(path)
    wrong = misfit(value, shape)
    if wrong:
        raise RunError(f"{path} {wrong}; {remedy}")
    return value


def misfit(value: Any, shape: Any, at: str = "") -> str:
    """Returns how a value fails to fit a shape, '' if it fits."""
    if shape is object:
        return ""
    if isinstance(shape, tuple):
        if any(not misfit(value, one, at) for one in shape):
            return ""
        return misfit(value, shape[0], at)
    if isinstance(shape, list):
        if not isinstance(value, list):
            return _not(value, list, at)
        places = (misfit(v, shape[0], f"{at}[{k}]") for k, v in enumerate(value))
        return next(filter(None, places), "")
    if isinstance(shape, dict):
        return _entries(value, shape, at)
    return "" if _fits(value, shape) else _not(value, shape, at)


def _entries(value: Any, shape: dict, at: str) -> str:
    if not isinstance(value, dict):
        return _not(value, dict, at)
    inside = f"{at}." if at else ""
    if str in shape:
        places = (misfit(v, shape[str], f"{inside}{k}") for k, v in value.items())
        return next(filter(None, places), "")
    for name, one in shape.items():
        key = name.removesuffix("?")
        if key in value:
            if wrong := misfit(value[key], one, f"{inside}{key}"):
                return wrong
        elif key == name:
            return f"lacks the entry {inside}{key}"
    return ""


def _fits(value: Any, kind: Any) -> bool:
    if kind is None:
        return value is None
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and _finite(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST
    return isinstance(value, kind)


def _finite(value: float) -> bool:
    return abs(value) <= LARGEST if isinstance(value, int) else math.isfinite(value)


def _not(value: Any, kind: Any, at: str) -> str:
    given = repr(value)
    given = given if len(given) <= SHOWN else f"{given[:SHOWN]}..."
    where = f"has in its entry {at} {given}" if at else f"holds {given}"
    return f"{where} where {TYPE_NAMES.get(kind, 'something else')} belongs"
