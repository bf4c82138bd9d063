"""What the page is told of an utterance, as JSON: a line of the list, or all that is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..data.reviews import Review
from ..evaluation.multitask import AFFECT
from .rows import HELD_OUT, ReviewTable

TEXT_IN_LIST = 120  # letters


def line(table: ReviewTable, number: int, own: Mapping[str, Review]) -> dict[str, Any]:
    """Returns a row as the list shows it."""
    columns = table.columns
    row = {name: _plain(columns[name][number]) for name in
           ("id", "role", "speaker", "text", "said", "confidence", "flips", "chosen")}  # fmt: skip
    row["text"] = (row["text"] or "")[:TEXT_IN_LIST]
    row["sound"] = isinstance(columns["audio"][number], str)
    row["disputed"] = bool(columns["contradiction"][number] > 0)
    row["own"] = word(own.get(row["id"]))
    row["todo"] = row["own"] is None
    return row


def detail(table: ReviewTable, number: int, own: Review | None) -> dict[str, Any]:
    """Returns all that is known of a row.

    What a held-out row was labelled in the table is told only after the reviewer's own word.
    """
    row = {name: column[number] for name, column in table.columns.items()}
    shown = line(table, number, {row["id"]: own} if own else {})
    seen = bool(np.isfinite(table.seen[number]).all()) and bool(table.classes)
    shown_given = row["role"] not in HELD_OUT or own is not None
    return shown | {
        "text": _plain(row["text"]) or "",
        "group": _plain(row["group"]),
        "given": _plain(row["given"]) if shown_given else None,
        "margin": _plain(row["margin"]),
        "first_round": _plain(row["first_round"]),
        "reason": _plain(row["reason"]),
        "affect": {n: _plain(row[n]) for n in AFFECT if n in row and not np.isnan(row[n])},
        "now": _now(table, number),
        "probs": [_plain(p) for p in (table.seen if seen else table.probs)[number]],
        "seen": seen,
        "raw": [_plain(p) for p in table.raw[number]],
        "votes": [
            {"modality": m, "label": _plain(labels[number]), "confidence": _plain(sure[number])}
            for m, (labels, sure) in table.votes.items()
            if labels[number] is not None
        ],
        "history": [
            {name: _plain(cell) for name, cell in line.items()}
            for line in table.history.of(number)
        ],
        "why": {
            name: _plain(row[f"{name}_why"]) or f"place {row[name]:.0f}"
            for name in table.queues if not np.isnan(row[name])
        },
    }  # fmt: skip


def _now(table: ReviewTable, number: int) -> dict[str, Any] | None:
    """Returns what the model that ships says, where an utterance has one label."""
    probs = table.probs[number]
    if table.several or not len(probs) or not np.isfinite(probs).all():
        return None
    return {"label": table.classes[int(probs.argmax())], "confidence": _plain(probs.max())}


def word(review: Review | None) -> dict[str, str] | None:
    """Returns a review as the page shows it."""
    if review is None:
        return None
    return {
        "verdict": review.verdict, "label": review.label, "reviewer": review.reviewer,
        "time": review.time,
    }  # fmt: skip


def _plain(value: Any) -> Any:
    """Returns a cell as JSON knows it; None for what is missing."""
    if (
        value is None
        or value is pd.NA
        or (isinstance(value, (float, np.floating)) and value != value)
    ):
        return None
    if isinstance(value, np.generic):
        value = value.item()
    return round(value, 6) if isinstance(value, float) else value
