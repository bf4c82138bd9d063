"""Why a row is shown to somebody, in words.

Letters: C classes, M modalities.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..data.wording import counted

UNLIKE = {
    "badge": "teaches what the rest of the list does not",
    "stratified": "teaches most within its share of the batch",
    "core_set": "unlike every labelled row",
    "typiclust": "typical of many rows of which few are labelled",
    "probcover": "many rows like it, of which none is labelled",
    "output_change": "its label would change many answers",
}
SURE = 0.9  # from here on a row is no longer called undecided
DRAWN = "drawn at random, to measure how many machine labels are right"


def label_of(probs: Tensor, classes: Sequence[str], multi: bool) -> tuple[str, float]:
    """Returns the label that probabilities (C,) say, several as a;b, and how sure it is."""
    if not multi:
        best = int(probs.argmax())
        return classes[best], float(probs[best])
    yes = [c for c in range(len(classes)) if float(probs[c]) >= 0.5]
    sure = float(torch.maximum(probs, 1 - probs).amin())
    return ";".join(classes[c] for c in yes), sure


def doubt(probs: Tensor, classes: Sequence[str], multi: bool) -> str:
    """Returns between what a model hesitates: 'joy 0.41 or anger 0.38'."""
    if multi:
        c = int((probs - 0.5).abs().argmin())
        return f"{classes[c]} {float(probs[c]):.2f}, of all classes the least decided"
    order = probs.argsort(descending=True, stable=True)[:2].tolist()
    if float(probs[order[0]]) >= SURE or len(order) < 2:
        return f"{classes[order[0]]} {float(probs[order[0]]):.2f}"
    return " or ".join(f"{classes[c]} {float(probs[c]):.2f}" for c in order)


def votes(
    by_modality: Tensor, present: Tensor, names: Sequence[str], classes: Sequence[str], multi: bool
) -> dict[str, str]:
    """Returns modality -> the label that it says alone (M, C), of those that a row has (M,) bool.

    Args:
        by_modality: probabilities.
        present: which modalities the row has.
        names: of the modalities.
        classes: in order.
        multi: several labels a row.
    """
    return {
        name: label_of(by_modality[m], classes, multi)[0] or "no class"
        for m, name in enumerate(names)
        if bool(present[m])
    }


def apart(alone: dict[str, str]) -> str:
    """Returns what modalities say where they differ: 'speech says joy, text anger'; else ''."""
    if len(set(alone.values())) < 2:
        return ""
    first, *rest = alone.items()
    return f"{first[0]} says {first[1]}, " + ", ".join(f"{name} {label}" for name, label in rest)


def of_reviewed(left: int, again: int) -> list[str]:
    """Returns sentences on reviewed rows: so many left out, so many asked about once more."""
    notes = [f"{counted(left, 'row')} left out: reviewed"] if left else []
    if again:
        notes.append(
            f"{counted(again, 'reviewed row', 'is', 'are')} asked about once more, drawn at random:"
            " without the rows that were looked for, the rest is no sample of the pool"
        )
    return notes
