"""What Tab offers in a shell: argcomplete asks the parser, and settings and recipes stand here."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from .shipped import recipe_names, shipped

PLACES = ("data.manifest", "data.audio_root", "features.store")  # of config/paths.py, without torch


def complete(parser: argparse.ArgumentParser) -> None:
    """Answers the shell and ends, where it was the shell that asked; else does nothing.

    How a shell is taught to ask: docs/quickstart.md.
    """
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)


def settings_and_recipes(prefix: str, **_: Any) -> list[str]:
    """Returns the words that may follow a verb that takes settings: recipes, YAML files, keys."""
    if "=" in prefix:
        return _values(prefix, default_settings())
    files = _files(prefix, ("yaml", "yml"))
    return [*recipe_names(), *files, *_keys(default_settings())]


def settings_of_benchmark(prefix: str, **_: Any) -> list[str]:
    """Returns the words that may follow `semi benchmark`."""
    from .config.yaml_format import all_keys
    from .experiments.benchmark.config import BenchConfig

    known = dict.fromkeys(all_keys(BenchConfig))
    if "=" in prefix:
        return _values(prefix, known)
    return ["bench", *_files(prefix, ("yaml", "yml")), *_keys(known)]


def settings_of_transfer(prefix: str, **_: Any) -> list[str]:
    """Returns the words that may follow `semi transfer`."""
    from .config.yaml_format import all_keys
    from .experiments.transfer.config import SHORT_WORDS, TransferConfig

    known = dict.fromkeys([*SHORT_WORDS, *all_keys(TransferConfig)])
    if "=" in prefix:
        return _values(prefix, known)
    return [*_files(prefix, ("yaml", "yml")), *_keys(known)]


def settings_of_selection(prefix: str, **_: Any) -> list[str]:
    """Returns the settings of a selection rule, without the name of their section."""
    known = {
        key.removeprefix("select."): value
        for key, value in default_settings().items()
        if key.startswith("select.")
    }
    return _values(prefix, known) if "=" in prefix else _keys(known)


def settings_of_places(prefix: str, **_: Any) -> list[str]:
    """Returns the settings that say where the data of a finished run are now."""
    known: dict[str, Any] = dict.fromkeys(PLACES)
    return _values(prefix, known) if "=" in prefix else _keys(known)


def corpora(**_: Any) -> list[str]:
    """Returns the published corpora that `semi manifest` reads."""
    from .data.corpora import CORPORA

    return list(CORPORA)


@cache
def default_settings() -> dict[str, Any]:
    """Returns dotted key -> default of every setting.

    From configs/default.yaml, which is made from the dataclasses: they themselves import torch, for
    which nobody waits who has pressed Tab.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with open(shipped("configs/default.yaml"), encoding="utf-8") as file:
        return dict(_leaves(yaml.load(file, loader), ""))


def _leaves(section: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Yields (dotted key, value) of nested sections."""
    for name, value in section.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _keys(settings: Iterable[str]) -> list[str]:
    return [f"{key}=" for key in settings]


def _values(word: str, settings: dict[str, Any]) -> list[str]:
    """Returns `key=value` for the values that a setting may have: yes or no, else files."""
    key, _, value = word.partition("=")
    if isinstance(settings.get(key), bool):
        return [f"{key}=true", f"{key}=false"]
    return [f"{key}={path}" for path in _files(value)] if key in settings else []


def _files(prefix: str, endings: tuple[str, ...] = ()) -> list[str]:
    """Returns files and folders that begin so."""
    from argcomplete.completers import FilesCompleter

    return list(FilesCompleter(endings)(prefix))
