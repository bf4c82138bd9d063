"""What all commands share: their description, the words they take, how they print."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .errors import SemiError

Parser = argparse.ArgumentParser
Arguments = argparse.Namespace


@dataclass
class Verb:
    """One command: what it says about itself, what it takes, what it calls."""

    help: str
    add_arguments: Callable[[Parser], object]
    run: Callable[[Arguments], object]
    again: str = ""  # how to go on after Ctrl-C; {line} is the command line


def takes_settings(parser: Parser) -> None:
    """Adds a YAML file and key=value words."""
    parser.add_argument(
        "words", nargs="*", metavar="config.yaml | key=value",
        help="a YAML file and settings that win over it; every key: configs/default.yaml",
    )  # fmt: skip


def takes_run(parser: Parser) -> None:
    """Adds the folder of a run."""
    parser.add_argument("run", help="folder of a run, such as runs/demo")


def split(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """Returns the YAML file among the words, if any, and the settings."""
    files = [w for w in words if "=" not in w]
    if len(files) > 1:
        raise SemiError(f"one YAML file at most, got {' and '.join(files)}; settings are key=value")
    return (files[0] if files else None), [w for w in words if "=" in w]


def say(*lines: str) -> None:
    """Prints the lines."""
    for line in lines:
        print(line)
