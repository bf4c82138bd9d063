"""What drawn sides must satisfy: gold of every class in training, and nothing that leaks."""

# pandas 3 types a column as 'Series or DataFrame or scalar', so these checks only see noise here.
# pyright: reportArgumentType=false
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from ..errors import ManifestError
from .column_hints import label_hint
from .config import DataConfig
from .leaks import MERE_WARNINGS, content_key, leak_report
from .wording import WARNING, counted, listed, setting, shown

if TYPE_CHECKING:
    import numpy as np

    from .manifest import Manifest
    from .roles import Splits


FEW_GOLD = 20  # labelled training rows
FEW_HELD = 5  # held-out rows of a class


def check_classes(
    manifest: Manifest, has: np.ndarray, role: np.ndarray, scored: np.ndarray,
    chosen: Sequence[str] = (),
) -> list[str]:  # fmt: skip
    """Returns a warning for each class that training has no gold row of.

    `has` (N, C) bool says which classes a row is of, `chosen` is data.classes. Raises
    ManifestError unless training has two classes or more, and for a class of which there is no row
    at all.
    """
    where, classes = manifest.path, manifest.classes
    train = role == "labeled"
    if not train.any():
        held = int(((role == "dev") | (role == "test")).sum())
        extra = f" ({counted(held, 'labelled row')} held out)" if held else ""
        raise ManifestError(
            f"{where}: no labelled row is left for training{extra}; fill the label column of some "
            f"rows whose split is train or empty{label_hint(manifest.reading, manifest.table)}"
        )
    if len(classes) < 2:
        raise ManifestError(
            f"{where}: every label is '{shown(classes[0])}'; training needs two classes or more"
        )
    lacking = {
        name: int(has[:, index].sum())
        for index, name in enumerate(classes)
        if not (train & has[:, index]).any()
    }
    if not lacking:
        return []
    nowhere = [name for name, held in lacking.items() if not held]
    if nowhere or len(classes) - len(lacking) < 2:
        classes_without = ", ".join(
            f"'{shown(name)}' ({counted(held, 'row') + ' elsewhere' if held else 'no row'})"
            for name, held in lacking.items()
        )
        first = next(iter(nowhere or lacking))
        remedy = "remove it from data.classes, " if first in chosen else ""
        remedy += f"drop it with {setting('data.label_map', {first: ''})}, "
        remedy += "or label training rows of it"
        if scored.any() and len(set(role.tolist())) > 1:
            remedy += ", or hold out other groups with data.test_groups"
        raise ManifestError(f"{where}: no labelled training row of {classes_without}; {remedy}")
    held = [f"'{shown(name)}' ({counted(n, 'row')} elsewhere)" for name, n in lacking.items()]
    it = "it, and its rows count" if len(held) == 1 else "them, and their rows count"
    return [f"{WARNING}no labelled training row of {listed(held)}: no model can name {it} as wrong"]


def thin_sides(role: np.ndarray, has: np.ndarray, classes: list[str]) -> list[str]:
    """Returns warnings of few labelled rows: in training, and of a class on a held-out side.

    Args:
        role: (N,) of `semi.data.roles.ROLES`.
        has: (N, C) bool, of which classes a row is.
        classes: their names.
    """
    notes, train = [], int((role == "labeled").sum())
    if train < FEW_GOLD:
        notes.append(
            f"{WARNING}only {counted(train, 'labelled training row')}: with fewer than {FEW_GOLD} "
            "neither a model nor what is said of it can be relied on; label more rows"
        )
    for name in ("dev", "test"):
        here, total = has[role == name].sum(0), has[role != "unused"].sum(0)
        if not (role == name).any():
            continue
        few = [
            f"'{shown(c, 40)}' ({n or 'none'} of {all_})"
            for c, n, all_ in zip(classes, here.tolist(), total.tolist(), strict=True)
            if n < FEW_HELD
        ]
        if few:
            notes.append(
                f"{WARNING}{name} has fewer than {FEW_HELD} rows of {listed(few)}: scores of "
                "such a class say little"
            )
    return notes


def check_leaks(
    manifest: Manifest, splits: Splits, config: DataConfig, inputs: Collection[str]
) -> None:
    """Notes accepted leaks and shared texts; raises ManifestError for any other leak."""
    leaks = leak_report(manifest, splits, content_key, inputs)
    splits.notes += [
        f"accepted leak, {leak}" for kind, leak in leaks.found.items() if kind in config.allow_leaks
    ]
    left = leaks.unacknowledged(config.allow_leaks)
    splits.notes += [
        f"{WARNING}training and held-out rows share a {leak}; on sentences that are new the model "
        f"may do worse ({setting('data.allow_leaks', [*config.allow_leaks, leak.kind])} says that "
        "this is known)"
        for leak in left
        if leak.kind in MERE_WARNINGS
    ]
    open_leaks = [leak for leak in left if leak.kind not in MERE_WARNINGS]
    if not open_leaks:
        return
    lines = "\n".join(f"  {leak}" for leak in open_leaks)
    allow = [*config.allow_leaks, *(leak.kind for leak in open_leaks)]
    kinds = {leak.kind for leak in open_leaks}
    several = {k for k in ("session", "speaker") if manifest.table[k].nunique() > 1}
    other = next((k for k in sorted(kinds & several) if k != splits.group_kind), None)
    remedy = f"data.group={other} would hold out whole {other}s; " if other else ""
    raise ManifestError(
        f"{manifest.path}: training and held-out rows share\n{lines}\n"
        f"{remedy}if this is known and accepted, set {setting('data.allow_leaks', allow)}"
    )
