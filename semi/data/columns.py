"""Do the columns hold what the encoders will read?"""

from __future__ import annotations

from typing import Any

from ..errors import ManifestError
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
    given = manifest.reading.carried
    if manifest.reading.kind == "class folders":  # their columns are folders
        return ""
    if column not in INPUTS.values() or column in manifest.reading.named.values() or not given:
        return ""
    way = pasted("data.columns", {column: given[0]})
    return f"; if another column holds it, name that, as in {way} (there are {listed(given)})"
