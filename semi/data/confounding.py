"""Whether a group, such as the speaker, gives the label away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .wording import WARNING, counted

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

GROUP_KINDS = ("speaker", "session")
ENOUGH = 20  # rows whose group has another labelled row; of fewer nothing is said
# Share of the way from the largest class to certainty. Three corpora of several emotions a speaker
# are below 0, opinions on films (one video each) at 0.27, one of talk shows, where nearly every
# speaker has one label, at 0.95.
TELLING = 0.4


@dataclass
class Confounding:
    """How well the other rows of its group tell a row's label."""

    rows: int  # labelled rows whose group has another labelled row
    groups: int
    right: float  # share of these rows that have the label most common among their group's others
    chance: float  # share of these rows that are of their largest class

    @property
    def telling(self) -> float:
        """Returns the share of the way from chance to certainty; 0 or less: it tells nothing."""
        return (self.right - self.chance) / (1 - self.chance) if self.chance < 1 else 0.0


def confounding(label: np.ndarray, group: np.ndarray) -> Confounding:
    """Returns how well the label (n,) int of a row is told by the other rows of its group (n,).

    Where several labels are as common among the others, the guess is right in part.
    """
    import numpy as np

    if not len(label):
        return Confounding(0, 0, 0.0, 0.0)
    names, index = np.unique(group.astype(str), return_inverse=True)
    classes, code = np.unique(label, return_inverse=True)
    counts = np.zeros((len(names), len(classes)))
    np.add.at(counts, (index, code), 1)
    known = counts.sum(1)[index] > 1  # a row that is alone has no others
    others = counts[index[known]]  # (m, C)
    every, own = np.arange(len(others)), code[known]
    others[every, own] -= 1
    best = others == others.max(1, keepdims=True)
    right = best[every, own] / best.sum(1)
    largest = np.bincount(own).max(initial=0)
    m = max(len(others), 1)
    return Confounding(
        len(others), len(np.unique(index[known])), float(right.sum() / m), float(largest / m)
    )


def confounding_notes(table: pd.DataFrame, label: np.ndarray) -> list[str]:
    """Returns a warning for each of speaker and session that gives the label away.

    Args:
        table: rows of the manifest that training has gold of.
        label: (n,) int their classes.
    """
    notes = []
    for kind in GROUP_KINDS:
        known = table[kind].notna().to_numpy()
        found = confounding(label[known], table[kind].to_numpy(dtype=object)[known])
        if found.rows < ENOUGH or found.groups < 2 or found.telling < TELLING:
            continue
        scaling = (
            "; features.standardize=speaker would scale the label away: use global or auto"
            if kind == "speaker"
            else ""
        )
        notes.append(
            f"{WARNING}the {kind} gives the label away: the other rows of its {kind} tell the "
            f"label of {100 * found.right:.0f} % of {counted(found.rows, 'labelled row')} (largest "
            f"class: {100 * found.chance:.0f} %), so a model may learn who speaks in place of the "
            f"label{scaling}"
        )
    return notes
