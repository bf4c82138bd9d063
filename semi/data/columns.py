"""Do the columns hold what the encoders will read?"""

from __future__ import annotations

from typing import Any

from ..errors import ManifestError
from .column_hints import CLASS_FOLDERS, holding_inputs
from .headers import listed
from .manifest import Manifest
from .wording import nearest, shown
from .wording import setting as pasted

INPUTS = {"speech": "audio", "text": "text"}  # the column of the manifest that an encoder reads


def check_columns(manifest: Manifest, encoders: Any) -> None:
    """Raises ManifestError where an encoder would find nothing to read in any row."""
    sections = {"speech": encoders.speech, "text": encoders.text}
    sections |= {f"extra.{name}": section for name, section in encoders.extra.items()}
    for name, section in sections.items():
        model = getattr(section, "model", "precomputed")
        if model == "none" or (model == "precomputed" and not section.column):
            continue
        column = section.column if model == "precomputed" else INPUTS[name]
        setting = f"encoders.{name}.model={model}"
        if model == "precomputed":
            setting = f"encoders.{name}.column={shown(column)}"
        off = f"set encoders.{name}.model=none" if name in INPUTS else f"take out encoders.{name}"
        if column not in manifest.table:
            known = list(manifest.table.columns)
            where = "; an array within an .npz file is named behind its path, path=file.npz:array"
            raise ManifestError(
                f"{manifest.path}: no column {shown(column)}, which {setting} asks for"
                f"{nearest(column, known)}{where if section.path else ''}; name another or {off}"
            )
        if not manifest.table[column].notna().to_numpy().any():
            raise ManifestError(
                f"{manifest.path}: no row has {shown(column)}, which {setting} reads; fill the "
                "column "
                f"{shown(column)}, or {off}{elsewhere(manifest, column)}"
            )


def elsewhere(manifest: Manifest, column: str) -> str:
    """Returns which columns may hold what is looked for, where none was recognised as it."""
    reading = manifest.reading  # of class folders no column is a person's: folder is our own
    given = [] if reading.kind == CLASS_FOLDERS else reading.carried
    if column not in INPUTS.values() or not given:
        return ""
    likely = holding_inputs(manifest.table, given, column)
    if column in manifest.reading.named.values() and not likely:
        return ""  # it is there, and empty
    way = pasted("data.columns", {column: (likely or given)[0]})
    return f"; if another column holds it, name that, as in {way} (there are {listed(given)})"


def refuse_unnamed(manifest: Manifest, name: str, *, settings: bool = True) -> None:
    """Raises ManifestError where an input that no row has stands in a column of an unknown name.

    To go on without it would read half of what was given. Nothing happens where a row has it.

    Args:
        manifest: the table.
        name: the modality, `speech` or `text`; of others no column can be told.
        settings: whether the command takes settings; without, the header must be changed.
    """
    column = INPUTS.get(name, "")
    if not column or manifest.table[column].notna().to_numpy().any():
        return
    likely = holding_inputs(manifest.table, manifest.reading.carried, column)
    if not likely:
        return
    several = len(likely) > 1
    says = "names say nothing, hold" if several else "name says nothing, holds"
    what = "names of sounds" if column == "audio" else "sentences"
    one = "one" if several else "it"
    remedy = f"name {one} '{column}' in the table, or take {'them' if several else 'it'} out"
    if settings:
        ways = " or ".join(pasted("data.columns", {column: header}) for header in likely)
        off = f"encoders.{name}.model=none"
        remedy = f"take {one} with {ways}, or say that {column} is left out with {off}"
    error = ManifestError(
        f"{manifest.path}: no row has {column}, but {listed(likely)}, whose {says} {what}; {remedy}"
    )
    error.reading = manifest.reading  # what was understood helps
    raise error
