"""What all commands share: their description, the words they take, how they print and fail."""

from __future__ import annotations

import argparse
import gc
import importlib.util
import os
import platform
import re
import shlex
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from .completion import settings_and_recipes, settings_of_places
from .data.wording import clipped
from .errors import REMEDIES, SemiError, is_full_disk, os_sentence
from .shipped import recipe_names


class Parser(argparse.ArgumentParser):
    """A parser whose errors repeat no long word whole."""

    def error(self, message: str) -> NoReturn:
        """Says what is wrong and ends with 2."""
        super().error(clipped(message))


Arguments = argparse.Namespace


@dataclass
class Verb:
    """One command: what it says about itself, what it takes, what it calls."""

    help: str
    add_arguments: Callable[[Parser], object]
    run: Callable[[Arguments], object]
    again: str = ""  # how to go on after Ctrl-C; {line} is the command line


class Version(argparse.Action):
    """Prints what somebody asks who reads a report of a fault, and ends."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        """Prints the versions of semi, Python and torch; torch itself is not imported."""
        from . import __version__

        say(f"semi {__version__} (Python {platform.python_version()}, {_torch_version()})")
        parser.exit()


def _torch_version() -> str:
    """Returns what torch calls itself, as "torch 2.13.0+cpu", without importing it.

    Its own file is read, as what pip knows of it does not always tell the build for a CPU from that
    for CUDA.
    """
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        return "no torch"
    text = Path(found.origin).with_name("version.py").read_text(encoding="utf-8")
    version = re.search(r"^__version__ = ['\"](.+?)['\"]", text, flags=re.M)
    return f"torch {version.group(1) if version else 'of an unknown version'}"


def completed_by(argument: argparse.Action, words: Callable[..., list[str]]) -> None:
    """Says which words Tab offers for an argument; argcomplete looks for them there."""
    argument.completer = words  # pyright: ignore[reportAttributeAccessIssue]


def takes_settings(parser: Parser, words: Callable[..., list[str]] = settings_and_recipes) -> None:
    """Adds a YAML file or a recipe, and key=value words; `words` are what Tab offers."""
    argument = parser.add_argument(
        "words", nargs="*", default=[], metavar="recipe | config.yaml | key=value",
        help="a recipe that comes with semi or a YAML file, and settings that win over it; every "
             f"key: python -m semi.config; recipes: {', '.join(recipe_names())}",
    )  # fmt: skip
    completed_by(argument, words)


def takes_run(parser: Parser) -> None:
    """Adds the folder of a run."""
    parser.add_argument("run", help="folder of a run, such as runs/demo")


def takes_places(parser: Parser) -> None:
    """Adds where a run's data are now."""
    argument = parser.add_argument(
        "words", nargs="*", default=[], metavar="key=value",
        help="where the run's data are, if they have moved: data.manifest=moved/table.csv",
    )  # fmt: skip
    completed_by(argument, settings_of_places)


def takes_moved_run(parser: Parser) -> None:
    """Adds the folder of a run, and where its data are now."""
    takes_run(parser)
    takes_places(parser)


def split(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """Returns the YAML file or recipe among the words, if any, and the settings."""
    files = [w for w in words if "=" not in w]
    if len(files) > 1:
        given = " and ".join(files)
        raise SemiError(f"one recipe or YAML file at most, got {given}; settings are key=value")
    return (files[0] if files else None), [w for w in words if "=" in w]


def port_number(word: str) -> int:
    """Returns a port, 0 for any that is free; what argparse refuses otherwise."""
    if not (word.isascii() and word.isdecimal() and int(word) < 65536):
        raise argparse.ArgumentTypeError(f"must be 0 to 65535, got '{word}'")
    return int(word)


def say(*lines: str) -> None:
    """Prints the lines."""
    for line in lines:
        print(line)


def import_torch() -> None:
    """Imports torch without garbage collection, and exempts for good what that made.

    Of the CPU time of a short command a third went into walking through half a million objects that
    are never garbage: while torch is imported, later on, and once more when Python ends.
    """
    if "torch" in sys.modules:
        return
    collects = gc.isenabled()
    gc.disable()
    try:
        import torch  # noqa: F401
    finally:
        gc.freeze()
        if collects:
            gc.enable()


def how_to_go_on(verb: Verb, argv: Sequence[str]) -> str:
    """Returns how to go on with an interrupted command, or ''."""
    line = shlex.join(["semi", *(w for w in argv if w != "--resume")])
    return "; " + verb.again.format(line=line) if verb.again else ""


def quiet_writers(found: threading.ExceptHookArgs) -> None:
    """Keeps silent of a full disk in TensorBoard's thread, which tells the main thread as well."""
    if not isinstance(found.exc_value, OSError):
        threading.__excepthook__(found)


def is_user_error(error: Exception) -> bool:
    """Says whether an error is a sentence of ours about what was given, not a fault in the code."""
    if isinstance(error, (SemiError, MemoryError)):
        return True
    ours = ("semi", "models", "noise", "pseudo_label")
    if isinstance(error, OSError) and (error.filename is not None or is_full_disk(error)):
        return True  # a file that cannot be read or written
    if type(error) is not ValueError:
        return type(error).__module__.partition(".")[0] in ours
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    raiser = last.tb_frame.f_globals.get("__name__", "") if last else ""
    return raiser.partition(".")[0] in ours


def sentence_of(error: Exception, ours: bool) -> str:
    """Returns what the command line says of an error."""
    if ours and isinstance(error, OSError):
        if error.filename is None:  # a library's own file, such as torch makes at its import
            return os_sentence(error, "a temporary file", "written")
        remedy = REMEDIES.get(error.errno or 0, "")
        return f"{error.filename}: {error.strerror}" + (f"; {remedy}" if remedy else "")
    if isinstance(error, MemoryError):
        detail = " ".join(str(error).split())[:120]
        detail = f" ({detail})" if detail else ""
        return (
            f"this machine has not enough memory for what was given{detail}; "
            "give fewer rows or smaller files, or use a machine with more"
        )
    if ours:
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    message = " ".join(str(error).split()) or "no further words"
    return (
        f"unexpected {type(error).__name__}: {message}{where}; a fault in semi or in a library it "
        "uses; --debug shows where"
    )
