"""The groups that never stand on two sides of a split: speakers, sessions or dialogues."""

# pandas 3 types a column as 'Series or DataFrame or scalar', so these checks only see noise here.
# pyright: reportArgumentType=false
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ManifestError
from .column_hints import speaker_hint
from .config import GROUP_KINDS, DataConfig
from .wording import WARNING, counted, nearest, shown

if TYPE_CHECKING:
    import numpy as np

    from .manifest import Manifest


def groups_of(
    manifest: Manifest, config: DataConfig, notes: list[str]
) -> tuple[str, np.ndarray, np.ndarray]:
    """Returns the kind of group, the group (N,) of every row, and where it is known (N,) bool."""
    import numpy as np

    table = manifest.table
    kinds = GROUP_KINDS if config.group == "auto" else (config.group,)
    single = []
    for kind in kinds:
        if kind == "none":
            break
        values = table[kind]
        count = values.nunique()
        if count == 0:
            if config.group != "auto":
                have = [k for k in GROUP_KINDS if table[k].notna().any()]
                remedy = f"set data.group={have[0]}" if have else "set data.group=none"
                raise ManifestError(
                    f"{manifest.path}: data.group={kind}, but no row has a {kind}; fill it in, "
                    f"or {remedy}"
                )
            continue
        if count == 1 and config.group == "auto":
            single.append(kind)
            continue
        known = values.notna().to_numpy()
        missing = int((~known).sum())
        if missing:
            notes.append(
                f"{counted(missing, 'row')} without a {kind}, each taken for a {kind} of its own"
            )
        group = np.empty(len(table), dtype=object)
        group[:] = values.tolist()
        group[~known] = [f"?{name}" for name in table["id"][~known]]
        return kind, group, known
    if config.group == "auto":
        why = f"all rows share one {single[0]}" if single else "no speaker, session or dialogue"
        notes.append(
            f"{WARNING}{why} in the manifest, so nothing keeps a speaker off two sides; results "
            f"flatter the model if speakers repeat{speaker_hint(manifest.reading)}"
        )
    return "none", table["id"].to_numpy(dtype=object), np.zeros(len(table), dtype=bool)


def refuse_unknown(manifest: Manifest, config: DataConfig, kind: str, groups: set[str]) -> None:
    """Raises ManifestError where data.test_groups names a group that no row belongs to."""
    names = sorted(groups)
    unknown = [g for g in config.test_groups if str(g) not in names]
    if unknown:
        some = ", ".join(shown(n, 40) for n in names[:20]) + (" ..." if len(names) > 20 else "")
        raise ManifestError(
            f"data.test_groups names '{shown(unknown[0])}', which is no {kind} of {manifest.path}"
            f"{nearest(str(unknown[0]), names)}; known are {some or 'none'}"
        )
