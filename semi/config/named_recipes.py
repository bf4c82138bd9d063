"""The recipes that come with semi, by name: `semi train demo`, `semi.load_config("demo")`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from ..data.wording import nearest
from ..shipped import recipe_names, shipped


def named_recipe(word: str | Path) -> Path | None:
    """Returns the file of the recipe that is called so; None where the word means a file.

    A file of that very name in the working directory comes first.
    """
    name = str(word)
    if name not in recipe_names() or os.path.isfile(name):
        return None
    return shipped("configs") / f"{name}.yaml"


def place_beside(config: Any, recipe: Path) -> str:
    """Returns the manifest of a named recipe where it comes with semi too, else as it is written.

    Args:
        config: the settings so far, with `data.manifest` as the recipe has it.
        recipe: file of the recipe; what it names lies in the folder that holds configs/.
    """
    written = config.data.manifest
    bundled = recipe.parents[1] / written
    return str(bundled) if bundled.is_file() else written


def missing_file(path: Path) -> str:
    """Returns what is wrong with a file of settings that is not there, and what may be meant."""
    if path.suffix.lower() in (".yaml", ".yml") and path.stem in recipe_names():
        return f"no such file; the recipe of that name comes with semi: write {path.stem} alone"
    if re.fullmatch(r"[\w-]+", str(path)):
        known = ", ".join(recipe_names()) or "missing here, as this is no whole copy of semi"
        close = nearest(str(path), recipe_names())
        return f"no such file, and no recipe of that name comes with semi{close}; those are {known}"
    return "no such file"
