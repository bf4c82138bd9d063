"""Every error a user can meet: one sentence that says what, where, what is allowed, the remedy."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


class SemiError(Exception):
    """Base of all errors that are the input's fault; the command line prints it without a stack."""


class WorkerLost(SemiError):
    """A worker died in the middle of its work; its sentence is for where results are kept."""

    def __init__(self, fault: str, advice: str = ""):
        """Takes what happened, and what to do otherwise when the command is started again."""
        self.fault, self.advice = fault, f", {advice}" if advice else ""
        kept = "what is finished is kept, so the same command goes on"
        super().__init__(f"{fault}; {kept}{self.advice}")


class ConfigError(SemiError):
    """A setting is unknown, missing, of the wrong type or out of range."""


class ManifestError(SemiError):
    """The table of utterances, or the splits drawn from it, cannot be used."""

    problems: Sequence[Any] = ()  # everything that is wrong with the table, one Problem each
    reading: Any = None  # what was understood of the table all the same


class AudioError(SemiError):
    """One audio file cannot be used; the message is the reason written to the quarantine list."""


class EncoderError(SemiError):
    """An encoder's weights cannot be had or do not fit."""


class StoreError(SemiError):
    """The feature store is damaged or does not hold what was asked for."""


class RunError(SemiError):
    """A run directory is missing, busy, unfinished or belongs to another configuration."""


def how_to_install(extra: str) -> str:
    """Returns the command that installs one of the extras of pyproject.toml.

    It is the same for a wheel and for a checkout that was installed with -e: pip keeps the semi
    that is there and adds what the extra names.
    """
    return f"pip install 'semi-emotion[{extra}]'"


def how_to_reinstall() -> str:
    """Returns the command that puts every file of semi back, from its wheel or its checkout."""
    return "pip install --force-reinstall --no-deps WHEEL, with semi's wheel or checkout"


# --- files: what libraries raise, as sentences ----------------------------------------------------

REMEDIES = {
    errno.ENOSPC: "free some space there, or name a folder on another disk",
    errno.EDQUOT: "free some of your quota there, or name a folder on another disk",
    errno.EFBIG: "the file may not grow so large here; lift the limit, or name another folder",
    errno.EACCES: "ask for the right to use it, or name another place",
    errno.EPERM: "ask for the right to use it, or name another place",
    errno.EROFS: "name a folder where you may write",
    errno.EISDIR: "it is a folder; name a file",
    errno.ENOTDIR: "a part of that path is a file, not a folder; correct the path",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOENT: "correct the path",
    errno.EEXIST: "choose another name",
    errno.EIO: "the disk or the network drive failed; copy what is left of it to another one",
    errno.EMFILE: "close some programs, or raise the limit (ulimit -n)",
    errno.ELOOP: "the link points back to itself; correct it",
}


@contextmanager
def reading(
    path: str | os.PathLike, what: str, remedy: str, kind: type[SemiError] = RunError
) -> Iterator[None]:
    """Turns whatever reading one file raises into a sentence: file, what is wrong, remedy.

    Only the call that opens and parses the file belongs inside the block, so that a fault of ours
    is not blamed on the file.

    Args:
        path: the file.
        what: what it should be, such as "a safetensors file".
        remedy: what to do about a damaged one.
        kind: the class of the error.
    """
    try:
        yield
    except (SemiError, FileNotFoundError):
        raise
    except OSError as error:
        if error.errno is None:  # a library's word about the contents, not the system's
            raise kind(_damaged(path, what, error, remedy)) from error
        raise kind(os_sentence(error, path, "read")) from error
    except Exception as error:  # of json, safetensors, zipfile, zlib, numpy, Arrow, YAML ...
        raise kind(_damaged(path, what, error, remedy)) from error


@contextmanager
def writing(path: str | os.PathLike, kind: type[SemiError] = RunError) -> Iterator[None]:
    """Turns what the system says against writing a file into a sentence with its remedy."""
    try:
        yield
    except (SemiError, FileNotFoundError):
        raise
    except Exception as error:
        found = system_error(error)
        if found is None:
            raise
        other = os.fsdecode(found.filename or "")  # unless a temporary name
        named = other if other and ".tmp" not in os.path.basename(other) else path
        raise kind(os_sentence(found, named, "written")) from error


def system_error(error: BaseException) -> OSError | None:
    """Returns the system's error that an error is or tells of, or None.

    Libraries written in other languages wrap it in a sentence: "... (os error 28)", "[errno 28]".
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error
    match = re.search(r"(?:os error|\[errno) (\d+)", str(error), re.IGNORECASE)
    if match and int(match.group(1)) in errno.errorcode:
        number = int(match.group(1))
        return OSError(number, os.strerror(number))
    return None


def os_sentence(error: OSError, path: str | os.PathLike, done: str) -> str:
    """Returns "PATH cannot be read: reason; remedy" of the system's error."""
    number = error.errno or 0
    reason = os.strerror(number) if number else " ".join(str(error).split())
    remedy = REMEDIES.get(number)
    return f"{os.fspath(path)} cannot be {done}: {reason}" + (f"; {remedy}" if remedy else "")


def is_full_disk(error: BaseException | None) -> bool:
    """Says whether an error, or what it came from, is that nothing more can be written there."""
    while error is not None:
        found = system_error(error)
        if found is not None:
            return found.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
        error = error.__cause__
    return False


def _damaged(path: str | os.PathLike, what: str, error: Exception, remedy: str) -> str:
    cause = " ".join(str(error).split())[:120] or type(error).__name__
    return f"{os.fspath(path)} is damaged or not {what} ({cause}); {remedy}"
