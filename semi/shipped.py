"""Where the files are that come with semi: its recipes and the bundled recordings."""

from __future__ import annotations

from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def shipped(name: str) -> Path:
    """Returns the path of a file or folder that comes with semi, whether it is there or not.

    A wheel holds them within the package (setup.py puts them there), a checkout beside it.

    Args:
        name: its path in a checkout, such as "configs" or "examples/emodb/manifest.csv".
    """
    within = PACKAGE / "shipped"
    return (within if within.is_dir() else PACKAGE.parent) / name


@cache
def recipe_names() -> tuple[str, ...]:
    """Returns the names of the recipes, sorted: of configs/demo.yaml it is demo."""
    return tuple(sorted(path.stem for path in shipped("configs").glob("*.yaml")))
