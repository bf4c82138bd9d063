"""Which utterance trains, waits in the pool or is held out: by whole groups, by seed."""

# pandas 3 types a column as 'Series or DataFrame or scalar', so these checks only see noise here.
# pyright: reportArgumentType=false
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

import zlib
from collections.abc import Collection
from typing import TYPE_CHECKING

from ..errors import ManifestError
from .config import GROUP_KINDS, DataConfig
from .confounding import confounding_notes
from .draws import LabelledRows
from .folds import assign_folds, draw_labels
from .groups import groups_of, refuse_unknown
from .held_out import choose_groups
from .leaks import INPUTS
from .reviewed import reviewed_notes, settle, with_reviews
from .roles import Splits
from .split_checks import check_classes, check_leaks, thin_sides
from .wording import counted, listed, setting, shown

if TYPE_CHECKING:
    import numpy as np

    from .manifest import Manifest


def make_splits(
    manifest: Manifest, config: DataConfig, *, folds: int, seed: int, several: bool = False,
    inputs: Collection[str] = INPUTS,
) -> Splits:  # fmt: skip
    """Returns the side, gold and fold of every row; the same seed gives the same splits.

    Everything is drawn by a hash of seed and id, so the order of the rows plays no part (but for
    contiguous slices). A `split` column is respected; without one whole groups are held out as
    test. ManifestError if training has no gold for some class, or if something leaks that
    data.allow_leaks does not name. With `several` labels a row, tied rows are gold on every side.
    `inputs` (audio, text) are the columns that models hear or read: no other is searched for leaks.
    """
    import numpy as np

    table, notes = manifest.table, list(manifest.notes)
    label, target = gold_of(manifest)
    kind, group, known = groups_of(manifest, config, notes)
    rows = LabelledRows(table["id"].to_numpy().astype(str), label, group.astype(str))
    side = _sides(manifest, config, rows, kind, known, seed, notes)

    tied = (label >= 0) & table["label"].isna().to_numpy()  # votes without a single winner
    role = _roles(side, label, tied & (not several), notes)
    _keep_pool_apart(role, side, kind, group, known, config, notes)
    hidden, draw_notes = _hidden(role, rows, config, seed)
    if manifest.reviewed is not None:  # after all draws: no review moves a row to another side
        hidden &= ~settle(manifest.reviewed, rows.ids, role, hidden)
        manifest = with_reviews(manifest)
        rows.label, target = gold_of(manifest)
        notes += reviewed_notes(manifest.reviewed, config.ties)
    label = rows.label
    has = label[:, None] == np.arange(len(manifest.classes))  # (N, C)
    if several:
        has = (target > 0) & (target == target.max(1, keepdims=True))
    notes += check_classes(manifest, has, role, side == "train", config.classes)

    role[hidden] = "pool"
    notes += draw_notes
    fold = np.full(len(table), -1)
    train = np.flatnonzero(role == "labeled")
    fold[train], fold_notes = assign_folds(rows.at(train), folds, seed, kind, config.fold_method)
    notes += [_named(note, manifest.classes) for note in fold_notes]
    target[(role == "pool") | (role == "unused")] = 0.0
    notes += thin_sides(role, has, manifest.classes)
    notes += confounding_notes(table.iloc[train], label[train])
    notes = list(dict.fromkeys(notes))  # parts and folds may say the same
    splits = Splits(role.astype(str), label, target, group.astype(str), fold, notes, kind)
    check_leaks(manifest, splits, config, inputs)
    return splits


def _hidden(
    role: np.ndarray, rows: LabelledRows, config: DataConfig, seed: int
) -> tuple[np.ndarray, list[str]]:
    """Returns the rows (N,) bool whose labels data.labeled_fraction or _count hides, and notes."""
    import numpy as np

    hidden = np.zeros(len(rows), dtype=bool)
    train = np.flatnonzero(role == "labeled")
    if (config.labeled_fraction is None and config.labeled_count is None) or not len(train):
        return hidden, []
    kept, note = draw_labels(rows.at(train), config.labeled_fraction, config.labeled_count, seed)
    hidden[train] = ~kept
    return hidden, [note]


def _roles(side: np.ndarray, label: np.ndarray, tied: np.ndarray, notes: list[str]) -> np.ndarray:
    """Returns labeled, pool, dev, test or unused for each row (N,), before labels are hidden."""
    import numpy as np

    role = np.where(label >= 0, "labeled", "pool").astype(object)
    role[side == "unlabeled"] = "pool"
    for name in ("dev", "test"):
        here = side == name
        role[here] = np.where((label >= 0) & ~tied, name, "unused")[here]
        lost = int((here & (role == "unused")).sum())
        if lost:
            notes.append(
                f"{counted(lost, 'row')} of {name} without a label, or with several, not used at "
                "all"
            )
    return role


def gold_of(manifest: Manifest) -> tuple[np.ndarray, np.ndarray]:
    """Returns label (N,) and target (N, C). A tie of votes gets one of its winners by id hash."""
    import numpy as np

    table = manifest.table
    index = {name: i for i, name in enumerate(manifest.classes)}
    label = (
        table["label"].map(index, "ignore").astype(float).fillna(-1).to_numpy(dtype=int, copy=True)
    )
    target = np.zeros((len(table), len(index)), dtype=np.float32)
    has = np.flatnonzero(label >= 0)
    target[has, label[has]] = 1.0
    for i in np.flatnonzero(table["votes"].notna().to_numpy()):
        votes = table["votes"].iat[i]
        shares = np.array([votes.get(name, 0.0) for name in index], dtype=np.float64)
        target[i] = shares / shares.sum()
        if label[i] < 0:
            winners = np.flatnonzero(shares == shares.max())
            label[i] = winners[zlib.crc32(str(table["id"].iat[i]).encode()) % len(winners)]
    return label, target


def _sides(
    manifest: Manifest,
    config: DataConfig,
    rows: LabelledRows,
    kind: str,
    known: np.ndarray,
    seed: int,
    notes: list[str],
) -> np.ndarray:
    """Returns train, dev, test or unlabeled for each row (N,)."""
    import numpy as np

    label, group = rows.label, rows.group
    given = manifest.table["split"]
    side = given.where(given.notna(), "train").to_numpy(dtype=object, copy=True)
    if config.test_groups:
        refuse_unknown(manifest, config, kind, set(group[known].tolist()))
        held = np.isin(group, [str(g) for g in config.test_groups])
        side[held] = "test"
        names = listed([shown(g, 40) for g in config.test_groups], 12)
        notes.append(f"test: {counted(int(held.sum()), 'row')} of {kind} {names}")
    elif config.test_fold is not None:
        answered = (side == "test") & (label < 0)  # a challenge's tests: never in the pool either
        side[(side != "unlabeled") & ~answered] = "train"
        part = _parts(manifest, config, rows, kind, seed, notes)
        side[part == config.test_fold] = "test"
        held = counted(int((part == config.test_fold).sum()), "row")
        notes.append(f"test: {held}, part {config.test_fold} of {config.test_folds}")
    elif given.notna().any():
        counts = {name: int((side == name).sum()) for name in ("train", "dev", "test", "unlabeled")}
        sizes = ", ".join(f"{n} {name}" for name, n in counts.items() if n)
        notes.append(f"the manifest's split column decides the sides: {sizes}")
        if not counts["test"]:
            notes.append("no row is held out as test; name some with data.test_groups")
    elif config.test_fraction > 0 and (label >= 0).any():
        held, note = _held_share(manifest, config.test_fraction, rows, kind, seed)
        side[held] = "test"
        notes.append(note)
    elif config.test_fraction == 0:
        notes.append("no row is held out as test (data.test_fraction=0)")
    return side


def _parts(
    manifest: Manifest,
    config: DataConfig,
    rows: LabelledRows,
    kind: str,
    seed: int,
    notes: list[str],
) -> np.ndarray:
    """Returns the part 1, 2 ... of each row (N,) that can be held out, 0 elsewhere.

    ManifestError if there are fewer groups than parts.
    """
    import numpy as np

    method, parts = config.fold_method, config.test_folds
    open_ = (manifest.table["split"] != "unlabeled").to_numpy()
    among = np.flatnonzero(open_ & ((rows.label >= 0) | (method == "contiguous")))
    groups = len(np.unique(rows.group[among]))
    if method == "grouped" and kind != "none" and groups < parts:
        finer = next((k for k in GROUP_KINDS if manifest.table[k].nunique() >= parts), None)
        remedies = [f"set data.test_folds={groups}"] * (groups > 1)
        remedies += [f"hold out whole {finer}s with data.group={finer}"] * (finer is not None)
        remedies += ["leave data.test_fold out"] * (not remedies)
        raise ManifestError(
            f"{manifest.path}: the labelled rows come from {counted(groups, kind)}, fewer than the "
            f"{counted(parts, 'part')} of whole {kind}s that are to be held out; "
            f"{', or '.join(remedies)}"
        )
    fold, fold_notes = assign_folds(rows.at(among), parts, seed, kind, method)
    part = np.zeros(len(rows), dtype=int)
    part[among] = fold + 1
    notes += [_named(note, manifest.classes) for note in fold_notes]
    return part


def _held_share(
    manifest: Manifest, share: float, rows: LabelledRows, kind: str, seed: int
) -> tuple[np.ndarray, str]:
    """Returns the rows (N,) bool of whole groups held out by draw, and a note."""
    import numpy as np

    gold = rows.at(np.flatnonzero(rows.label >= 0))
    chosen = choose_groups(gold, len(manifest.classes), share, seed)
    if not chosen and kind == "none":
        raise ManifestError(
            f"{manifest.path}: {counted(len(gold), 'labelled row')} cannot stand on both sides; "
            "label more rows, or set data.test_fraction=0"
        )
    if not chosen:
        raise ManifestError(
            f"{manifest.path}: the labelled rows belong to one {kind}, which cannot stand on "
            "both sides; set data.group=none, name another kind, or set data.test_fraction=0"
        )
    held = np.isin(rows.group, sorted(chosen))
    named = f" ({', '.join(shown(c, 40) for c in sorted(chosen))})" if len(chosen) <= 20 else ""
    what = f"of {counted(len(chosen), kind)} held out whole{named}"
    what = what if kind != "none" else "at random"
    return held, f"test: {held.sum()} of {counted(len(rows), 'row')}, {what}, by seed {seed}"


def _keep_pool_apart(
    role: np.ndarray,
    side: np.ndarray,
    kind: str,
    group: np.ndarray,
    known: np.ndarray,
    config: DataConfig,
    notes: list[str],
) -> None:
    """Takes pool rows of held-out groups out of training, in place, unless accepted."""
    import numpy as np

    if kind == "none" or kind in config.allow_leaks:
        return
    held = set(group[known & np.isin(side.astype(str), ["dev", "test"])].tolist())
    caught = (role == "pool") & np.isin(group.astype(str), sorted(map(str, held)))
    if caught.any():
        role[caught] = "unused"
        allow = setting("data.allow_leaks", [*config.allow_leaks, kind])
        keep = f"; {allow} keeps them" if kind in ("speaker", "session") else ""
        notes.append(
            f"{counted(int(caught.sum()), 'unlabelled row')} of held-out {kind}s kept out of the "
            f"pool{keep}"
        )


def _named(note: str, classes: list[str]) -> str:
    for index, name in enumerate(classes):
        note = note.replace(f"<{index}>", f"'{shown(name)}'")
    return note
