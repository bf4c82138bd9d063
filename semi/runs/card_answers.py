"""What a model card says of tasks that round.json has no confusion of: several labels, values.

It is counted from answers.csv, what the model that ships says of every gold row; no row is named.
Letters: R gold rows of the scored part, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pseudo_label.reliability import ece, nll

from ..evaluation.multitask import AFFECT, YES
from ..evaluation.text import percent


@dataclass(frozen=True)
class SeveralAnswers:
    """How often each class is predicted for rows of each class, where a row may have several."""

    confusion: list[list[int]]  # (C, C + 1): rows of a gold class by class predicted, then by none
    none_predicted: int  # rows of which no class reaches its half
    calibration: list[str]  # over all R * C answers yes or no: calibration error in %, nats


def several_answers(
    answers: Sequence[dict[str, Any]], role: str, classes: Sequence[str]
) -> SeveralAnswers | None:
    """Returns the confusion and calibration of several labels a row; None without such rows.

    Args:
        answers: rows of answers.csv, as `read_answers` returns them.
        role: of the R rows that are scored: labeled, dev or test.
        classes: C names in order.
    """
    own = [row for row in answers if row["role"] == role]
    if not own or any(f"p_{name}" not in own[0] for name in classes):
        return None
    probs = np.array([[row[f"p_{name}"] for name in classes] for row in own])  # (R, C)
    given = [set(row["label"].split(";")) for row in own]
    truth = np.array([[name in names for name in classes] for names in given])
    predicted = probs >= YES
    none = ~predicted.any(1)
    columns = np.column_stack([predicted, none]).astype(int)
    both = np.stack([1 - probs.ravel(), probs.ravel()], 1)  # (R * C, 2): no, yes
    asked = truth.ravel().astype(int)
    return SeveralAnswers(
        (truth.T.astype(int) @ columns).tolist(), int(none.sum()),
        [percent(ece(both[:, 1], asked)), f"{nll(both, asked):.3f}"],
    )  # fmt: skip


def value_ranges(answers: Sequence[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Returns (valence or arousal, least, largest) of what people gave; [] where nobody did."""
    found = []
    for name in AFFECT:
        given = np.array([row.get(name, np.nan) for row in answers], dtype=float)
        given = given[np.isfinite(given)]
        if len(given):
            found.append((name, f"{given.min():.4g}", f"{given.max():.4g}"))
    return found
