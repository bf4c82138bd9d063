"""The draws behind the splits: the share that keeps its labels, and the out-of-fold parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .draws import LabelledRows, shuffled
from .wording import WARNING, counted, listed

if TYPE_CHECKING:
    import numpy as np

PER_CLASS = 2  # labelled rows of a class that a draw never goes below


def draw_labels(
    rows: LabelledRows, fraction: float | None, count: int | None, seed: int
) -> tuple[np.ndarray, str]:
    """Returns which of the labelled rows (n,) stay labelled, stratified, and a note that says it.

    A class keeps at least PER_CLASS rows, if it has them. With one seed a smaller draw is part of
    every larger one: a class keeps its rows of the smallest hashes.
    """
    import numpy as np

    label, order = rows.label, shuffled(rows.ids, seed, "labels kept")
    present, totals = np.unique(label, return_counts=True)
    share = fraction if fraction is not None else min(1.0, (count or 0) / len(label))
    exact = share * totals
    floor = np.minimum(PER_CLASS, totals)
    if count is None:
        keep = np.clip(np.floor(exact + 0.5).astype(int), floor, totals)
    else:
        keep = _shares(exact, floor, totals, min(count, len(label)))
    kept = np.zeros(len(label), dtype=bool)
    for c, k in zip(present, keep, strict=True):
        kept[order[label[order] == c][:k]] = True
    asked = f"{count}" if count is not None else f"{100 * share:.3g} %"
    note = (
        f"{int(kept.sum())} of {counted(len(label), 'training label')} kept ({asked} asked, seed "
        f"{seed})"
    )
    if count is not None and count > len(label):
        note += f"; there are no more than {len(label)}"
    elif (keep > exact + 1).any():
        note += f"; a class keeps at least {PER_CLASS}, more than the share asked for"
    return kept, note


def _shares(exact: np.ndarray, floor: np.ndarray, totals: np.ndarray, count: int) -> np.ndarray:
    """Returns whole numbers near `exact`, at least `floor`, that sum to `count` where they can."""
    import numpy as np

    keep = np.clip(np.floor(exact).astype(int), floor, totals)
    while keep.sum() < count and (keep < totals).any():
        keep[int(np.argmax(np.where(keep < totals, exact - keep, -np.inf)))] += 1
    while keep.sum() > count and (keep > floor).any():
        keep[int(np.argmax(np.where(keep > floor, keep - exact, -np.inf)))] -= 1
    return keep


def assign_folds(
    rows: LabelledRows, folds: int, seed: int, kind: str, method: str = "grouped"
) -> tuple[np.ndarray, list[str]]:
    """Returns the fold (n,) of each labelled row and notes; classes are written '<index>' in them.

    Whole groups where there are as many as folds (the greedy rule of scikit-learn's
    StratifiedGroupKFold: largest spread first, each to the fold that stays most even), else rows.
    With `method` contiguous, slices of the rows as they come.
    """
    import numpy as np

    label, group = rows.label, rows.group
    notes: list[str] = []
    parts = min(folds, len(label))
    if parts < folds:
        notes.append(
            f"only {counted(parts, 'labelled row')}: {counted(parts, 'fold')} instead of {folds}"
        )
    if method == "contiguous":
        notes.append(f"{parts} contiguous slices of the table may cut through groups")
        return contiguous_folds(len(label), parts), notes
    names, index = np.unique(group.astype(str), return_inverse=True)
    by_row = len(names) == len(label)
    if len(names) < parts:
        notes.append(
            f"{WARNING}the labelled rows come from {counted(len(names), kind)}, fewer than the "
            f"{counted(parts, 'fold')}, so folds share {kind}s and out-of-fold figures flatter the "
            "model" + (f"; train.folds={len(names)} keeps {kind}s whole" if len(names) > 1 else "")
        )
        by_row = True
    if by_row:
        fold = _by_row(rows, parts, seed)
    else:
        classes, codes = np.unique(label, return_inverse=True)
        counts = np.zeros((len(names), len(classes)))
        np.add.at(counts, (index, codes), 1)
        fold = _by_group(counts, shuffled(names, seed, "fold"), parts)[index]
    return fold, notes + _lonely(label, index, fold, kind)


def _lonely(label: np.ndarray, index: np.ndarray, fold: np.ndarray, kind: str) -> list[str]:
    """Returns warnings of classes that only one group has, or that only one fold has."""
    import numpy as np

    one, alone = [], []
    for c in np.unique(label):
        mine = label == c
        if kind != "none" and len(np.unique(index[mine])) < 2:
            one.append(int(c))
        elif len(np.unique(fold[mine])) < 2:
            alone.append(int(c))
    notes = []
    if one:
        each = " each" * (len(one) > 1)
        notes.append(
            f"{WARNING}the labelled rows of {_list(one)} come from one {kind}{each}: no model that "
            f"learned such a class is scored on it by another {kind}"
        )
    if alone:
        notes.append(
            f"{WARNING}all labelled rows of {_list(alone)} fall into one fold: out-of-fold models "
            "never see such a class when they are scored on it"
        )
    return notes


def contiguous_folds(n: int, parts: int) -> np.ndarray:
    """Returns the part (n,) of each row where equal slices of the table follow one another.

    Slice k ends before row floor(k n / parts), as in the published five folds of KEMDy: 2692, 2692,
    2693, 2692 and 2693 of 13,462 rows.
    """
    import numpy as np

    ends = np.arange(1, parts + 1) * n // parts
    return np.searchsorted(ends, np.arange(n), side="right")


def _by_row(rows: LabelledRows, parts: int, seed: int) -> np.ndarray:
    """Deals the shuffled rows out class after class, so that every fold is as even as can be."""
    import numpy as np

    order = shuffled(rows.ids, seed, "fold")
    order = order[np.argsort(rows.label[order], kind="stable")]
    fold = np.empty(len(rows), dtype=int)
    fold[order] = np.arange(len(rows)) % parts
    return fold


def _by_group(counts: np.ndarray, order: np.ndarray, parts: int) -> np.ndarray:
    """Returns the fold (G,) of each group with class counts (G, C), dealt in `order` (G,)."""
    import numpy as np

    total = counts.sum(0)
    order = order[np.argsort(-counts[order].std(axis=1), kind="stable")]
    filled = np.zeros((parts, counts.shape[1]))
    fold = np.empty(len(counts), dtype=int)
    for position, g in enumerate(order.tolist()):
        empty = np.flatnonzero(filled.sum(1) == 0)
        left = len(order) - position
        options = empty.tolist() if 0 < len(empty) >= left else list(range(parts))
        scores = []
        for f in options:
            trial = filled.copy()
            trial[f] += counts[g]
            scores.append(((trial / total).std(axis=0).mean(), filled[f].sum()))
        f = options[min(range(len(scores)), key=scores.__getitem__)]
        fold[g] = f
        filled[f] += counts[g]
    return fold


def _list(classes: list[int]) -> str:
    return listed([f"<{c}>" for c in classes])
