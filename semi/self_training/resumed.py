"""What a begun run goes on with: what it decided holds, other settings and sides are refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..config.paths import absolute
from ..config.recipes import RECIPES, SETTLED
from ..config.schema import Config, load_config, signature
from ..data.manifest import Manifest
from ..data.roles import Splits
from ..data.wording import shown
from ..errors import RunError
from ..files import read_table

RECIPE = "recipe.txt"  # what recipe auto compared, and what it chose
COMMITTEE = "committee.safetensors"  # what those compared say of the pool, for the first round
SCALING = "standardize.txt"  # what features.standardize=auto compared, and what it chose


def taken_over(path: Path, config: Config) -> Config:
    """Returns the config with what its autos decided when the run began, if they decided.

    A student that the user names now is left: it is compared with the one the run began with.
    """
    begun = load_config(path / "config.yaml", elsewhere=True)
    if config.features.standardize == "auto":
        mode = begun.features.standardize
        config = replace(config, features=replace(config.features, standardize=mode))
    if config.encoders.speech.layers is None:  # left open: as they were when the run began
        about = begun.encoders.speech
        speech = replace(config.encoders.speech, layers=about.layers, combine=about.combine)
        config = replace(config, encoders=replace(config.encoders, speech=speech))
    # killed between the settings and the sentence about them, a run has no round and no sentence
    decided = (path / RECIPE).is_file() or not (path / "round-00").is_dir()
    if config.recipe == "none" or not decided:
        return config
    for key in SETTLED:
        name, _, word = key.partition(".")
        section = getattr(config, name)
        usual = RECIPES[config.task.kind].get(key, getattr(type(section)(), word))
        if getattr(section, word) == usual and key not in config.given:
            taken = {word: getattr(getattr(begun, name), word)}
            config = replace(config, **{name: replace(section, **taken)})
    return config


def _value(settings: Mapping[str, Any], key: str) -> str:
    return shown(repr(settings.get(key)))


def refuse_other_settings(path: Path, config: Config) -> None:
    """Raises RunError naming the settings in which a begun run differs from the config given."""
    begun = absolute(load_config(path / "config.yaml", elsewhere=True))
    before, now = signature(begun), signature(config)
    differences = [
        f"{key} was {_value(before, key)}, now {_value(now, key)}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    ]
    if differences:
        more = f" and {len(differences) - 4} more" if len(differences) > 4 else ""
        raise RunError(
            f"{path} was begun with another configuration ({'; '.join(differences[:4])}{more}); "
            "resume with the same settings, or choose another name=..."
        )


def refuse_other_sides(path: Path, manifest: Manifest, splits: Splits) -> None:
    """Raises RunError where the rows of a run stood on other sides, or in another order.

    So it is with runs of versions that drew otherwise: their test rows would be training rows here.
    Rows that could not be used are left out of the comparison.
    """
    source = path / "splits.csv"
    if not source.is_file():
        return
    before = read_table(source, ("id", "role", "fold"))
    same = before["id"].tolist() == manifest.table["id"].astype(str).tolist()
    if same:
        used = (before["role"] != "unused").to_numpy()
        same = bool((before["role"].to_numpy()[used] == splits.role[used]).all())
        parts = before["fold"].to_numpy()[used]
        pairs = set(zip(parts.tolist(), splits.fold[used].tolist(), strict=True))
        same = same and len(pairs) == len(set(parts.tolist()))
    if not same:
        raise RunError(
            f"{path} drew its test rows, labels or folds otherwise than this version of semi does, "
            "so its rows cannot be told apart again; use the version it was made with, or train it "
            "anew under another name (semi predict and the export of its model work as before)"
        )
