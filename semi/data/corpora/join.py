"""Putting corpora into one table: the option add=other.csv of every corpus."""

# pandas 3 types a column as 'Series or DataFrame or scalar', so these checks only see noise here.
# pyright: reportArgumentType=false

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ManifestError
from ..tables import read_table
from ..votes import literal
from ..wording import counted
from .files import examples

if TYPE_CHECKING:
    import pandas as pd


def join_manifest(table: pd.DataFrame, path: str | Path, name: str) -> tuple[pd.DataFrame, str]:
    """Returns the rows of the manifest at `path` and then those of `table`, and a note.

    Column `source` says where a row comes from: the file's stem, or `name`. Speakers, sessions and
    dialogues of `table` whose names are those of others in the file are called `name`/... .
    """
    import pandas as pd

    path = Path(path).expanduser()
    if not path.is_file():
        raise ManifestError(f"add={path}: no such manifest; write it with semi manifest first")
    other = read_table(path, path.read_bytes()).frame
    if "id" not in other:
        raise ManifestError(f"add={path}: no column id; write it with semi manifest first")
    shared = set(other["id"]) & set(table["id"])
    if shared:
        raise ManifestError(
            f"add={path}: {counted(len(shared), 'id', 'is', 'are')} in both "
            f"({examples(sorted(shared))}); is it the same corpus?"
        )
    folder = os.path.abspath(path.parent)
    if "audio" in other:
        other["audio"] = [os.path.join(folder, p) if p else None for p in other["audio"].tolist()]
    if "votes" in other:
        cells = other["votes"].tolist()
        votes = [literal(v) if isinstance(v, str) and v.strip() else v or None for v in cells]
        other["votes"] = pd.Series(votes, dtype=object)
    for part, source in ((other, path.stem), (table, name)):
        if "source" not in part:
            part["source"] = source
    renamed = []
    for column in ("speaker", "session", "dialogue"):
        if column not in other or column not in table:
            continue
        names = table[column]
        if set(other[column].dropna()) & set(names.dropna()) - {""}:
            table[column] = [f"{name}/{v}" if isinstance(v, str) and v else None for v in names]
            renamed.append(f"{column}s")
    both = pd.concat([other.astype(object), table.astype(object)], ignore_index=True)
    both = both.astype(object).where(both.notna() & (both != ""), None)
    note = f"{counted(len(other), 'row')} of {path.name} first; column source tells them apart"
    if renamed:
        note += (
            f"; {' and '.join(renamed)} of {name} are called {name}/..., both corpora use the names"
        )
    return both, note
