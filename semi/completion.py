"""What Tab offers in a shell: argcomplete asks the parser, and settings and recipes stand here."""

from __future__ import annotations

import argparse
import ast
import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from .shipped import recipe_names, shipped

SHORT_WORDS = ("train", "test")  # of experiments/transfer/config.py, likewise
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
    known = _settings_of("experiments/benchmark/config.py", "BenchConfig")
    if "=" in prefix:
        return _values(prefix, known)
    return ["bench", *_files(prefix, ("yaml", "yml")), *_keys(known)]


def settings_of_transfer(prefix: str, **_: Any) -> list[str]:
    """Returns the words that may follow `semi transfer`."""
    known = dict.fromkeys(SHORT_WORDS) | _settings_of(
        "experiments/transfer/config.py", "TransferConfig"
    )
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


@cache
def _settings_of(module: str, name: str) -> dict[str, Any]:
    """Returns dotted key -> default, None if unknown, of settings that several runs share.

    Their own are read from the source of their class, those of learning and of the engine are a
    run's: to import the class takes torch, too.
    """
    whole = default_settings()
    known: dict[str, Any] = {}
    for place in (("config/learning.py", "LearningConfig"), ("parallel.py", "EngineConfig")):
        for key in _declared(*place):
            known |= {k: v for k, v in whole.items() if k == key or k.startswith(f"{key}.")}
    return known | {key: whole.get(key) for key in _declared(module, name)}


def _declared(module: str, name: str) -> list[str]:
    """Returns the fields that a dataclass of a module declares by itself."""
    source = Path(__file__).parent.joinpath(module).read_text(encoding="utf-8")
    classes = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    body = next(node.body for node in classes if node.name == name)
    fields = [node.target for node in body if isinstance(node, ast.AnnAssign)]
    return [field.id for field in fields if isinstance(field, ast.Name)]


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
