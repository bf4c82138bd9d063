"""Where a run's files are: absolute when it begins, found again when folders moved together."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..data.reviewed import GOLD_REVIEWS
from ..errors import ConfigError
from ..features.remote import is_url
from .schema import Config

# What may be named anew for a finished run, because it says where, not what.
PLACE_SETTINGS = ("data.manifest", "data.audio_root", "features.store")


def absolute(config: Config) -> Config:
    """Returns the settings with every path that is there made absolute.

    A run is opened from any folder. Names that are no path here, such as those of encoders on the
    Hugging Face hub, stay as they are.
    """
    data, encoders = config.data, config.encoders
    data = replace(
        data,
        manifest=os.path.abspath(data.manifest),
        audio_root=os.path.abspath(os.path.expanduser(data.audio_root)) if data.audio_root else "",
        outside=[_if_there(p) for p in data.outside],
        reviews=[os.path.abspath(os.path.expanduser(p)) for p in data.reviews],
    )
    speech = replace(encoders.speech, model=_if_there(encoders.speech.model))
    text = replace(encoders.text, model=_if_there(encoders.text.model))
    store = config.features.store
    store = store if is_url(store) else os.path.abspath(store)
    teacher = config.distill.teacher
    return replace(
        config, data=data, encoders=replace(encoders, speech=speech, text=text),
        features=replace(config.features, store=store), runs_dir=os.path.abspath(config.runs_dir),
        distill=replace(config.distill, teacher=_if_there(teacher) if teacher else teacher),
    )  # fmt: skip


def found_again(config: Config, home: Path) -> Config:
    """Returns a run's settings with places that are gone looked for where its folder is now.

    Args:
        config: as the run wrote them, with absolute paths.
        home: the run's folder; it and its data may have been moved or copied together.
    """
    if (home / GOLD_REVIEWS).is_file():  # the file it was begun with grows, or is gone
        own = [str((home / GOLD_REVIEWS).absolute())]
        config = replace(config, data=replace(config.data, reviews=own))
    begun = Path(config.runs_dir, config.name)
    if not begun.is_absolute():  # of an earlier version
        return config

    def now(path: str) -> str:
        if not path or not os.path.isabs(path) or os.path.exists(path):
            return path
        moved = os.path.normpath(os.path.join(home.absolute(), os.path.relpath(path, begun)))
        return moved if os.path.exists(moved) else path

    data = replace(
        config.data, manifest=now(config.data.manifest), audio_root=now(config.data.audio_root)
    )
    return replace(
        config, data=data, features=replace(config.features, store=now(config.features.store))
    )


def check_places(words: Sequence[str]) -> list[str]:
    """Returns the words; ConfigError unless each says where something of a finished run is."""
    for word in words:
        if word.partition("=")[0] not in PLACE_SETTINGS or "=" not in word:
            raise ConfigError(
                f"{word[:100]}: a finished run has its settings; only where things are may be "
                f"named anew: {', '.join(f'{p}=...' for p in PLACE_SETTINGS)}"
            )
    return list(words)


def _if_there(name: str) -> str:
    return os.path.abspath(name) if os.path.exists(name) else name
