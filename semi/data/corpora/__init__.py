"""Readers of published corpora: a folder as it was downloaded -> a manifest table."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ManifestError
from ...shipped import shipped
from ..wording import nearest
from .account import account
from .aihub import read_aihub
from .cremad import read_cremad
from .emodb import read_emodb
from .esd import read_esd
from .files import Tree
from .iemocap import read_iemocap
from .join import join_manifest
from .kemdy19 import read_kemdy19
from .kemdy20 import read_kemdy20
from .meld import read_meld
from .mer import read_mer
from .msp_podcast import read_msp_podcast
from .ravdess import read_ravdess
from .savee import read_savee
from .tess import read_tess

if TYPE_CHECKING:
    import pandas as pd

# name -> function(tree, *, options: str) giving the table and notes on what was found, dropped
# and why; its keywords are the options of the command line. Extend it freely.
CORPORA: dict[str, Callable[..., tuple[pd.DataFrame, list[str]]]] = {
    "aihub": read_aihub,
    "cremad": read_cremad,
    "emodb": read_emodb,
    "emodb2": read_emodb,
    "esd": read_esd,
    "iemocap": read_iemocap,
    "kemdy19": read_kemdy19,
    "kemdy20": read_kemdy20,
    "meld": read_meld,
    "mer2023": read_mer,
    "mer2024": read_mer,
    "mer2025": read_mer,
    "msp_podcast": read_msp_podcast,
    "ravdess": read_ravdess,
    "savee": read_savee,
    "tess": read_tess,
}


def corpus_manifest(
    name: str, folder: str | Path, **options: str
) -> tuple[pd.DataFrame, list[str]]:
    """Returns the manifest table of the corpus `name` in `folder`, and notes on it.

    `options` are the keywords of the corpus's reader, such as tags="strip" for kemdy20, and for
    every corpus add="other.csv", a manifest whose rows are put before these.
    """
    name = next((known for known in CORPORA if _bare(known) == _bare(name)), name)
    if name not in CORPORA:
        known = ", ".join(sorted(CORPORA))
        raise ManifestError(
            f"unknown corpus '{name}'{nearest(name, CORPORA)}; known are {known}. For other data "
            "write a CSV with the columns id, audio, text, label, speaker"
        )
    defined = corpus_options(name)
    for option in options:
        if option not in defined:
            defaults = ", ".join(f"{k}={v}" for k, v in defined.items())
            raise ManifestError(
                f"{name} has no option '{option}'{nearest(option, defined)}; "
                + f"its options and their defaults are {defaults}"
            )
    root = Path(folder).expanduser().resolve()
    if not root.is_dir():
        raise ManifestError(
            f"{folder}: no such folder; give the folder that holds the {name} files"
        )
    add = options.pop("add", "")
    tree = Tree(root)
    table, notes = CORPORA[name](tree, **options)
    notes = [*notes, *account(tree, table)]
    if add:
        table, note = join_manifest(table, add, name)
        notes = [*notes, note]
    return table, notes


def _bare(name: str) -> str:
    """Returns a corpus's name as compared: CREMA-D is cremad."""
    return name.lower().replace("-", "").replace("_", "")


def corpus_options(name: str) -> dict[str, Any]:
    """Returns {option: default} of a corpus."""
    parameters = inspect.signature(CORPORA[name]).parameters.values()
    own = {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
    return {**own, "add": ""}


def parse_options(words: Sequence[str]) -> dict[str, str]:
    """Returns {option: value} of words such as tags=strip."""
    options = {}
    for word in words:
        option, equals, value = word.partition("=")
        if not equals or not option:
            raise ManifestError(f"'{word}': options of a corpus are written option=value")
        if option in options:
            raise ManifestError(f"the option {option} is given twice")
        options[option] = value
    return options


def bundled_emodb() -> Path:
    """Returns the path of the manifest.csv of the Emo-DB copy that comes with the project."""
    path = shipped("examples/emodb/manifest.csv")
    if not path.is_file():
        raise ManifestError(
            f"{path}: the bundled Emo-DB is missing; it comes with semi's wheel and with a clone "
            "of its repository, not with a copy of the packages alone: install one of the two"
        )
    return path
