"""A model's outputs as a table of answers, and the table as lines for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.wording import counted, shown
from ..errors import ManifestError
from ..evaluation.multitask import AFFECT
from .growing_table import growing_table

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from ..features.tensors import Features
    from ..self_training.model_dir import Model
    from ..training.teacher import Prediction


def columns_of(
    model: Model, outputs: Prediction, features: Features, ids: list[str], notes: list[str]
) -> dict[str, Any]:
    """Returns the answers to N rows: id, label, confidence, p_<class>, each modality's vote, note.

    Args:
        model: what answered.
        outputs: its outputs.
        features: the standardised features that it read.
        ids: (N,) of the rows.
        notes: (N,) what is wrong with a row, '' where nothing is.
    """
    readable = features.present.any(1).cpu().numpy()
    columns: dict[str, Any] = {"id": ids}
    if outputs.affect is not None:
        affect = outputs.affect.cpu().numpy().astype(float)
        columns |= {a: np.where(readable, affect[:, i], np.nan) for i, a in enumerate(AFFECT)}
    if model.config.task.kind == "affect":
        return {**columns, "note": notes}
    probs = outputs.probs.cpu().numpy().astype(float)
    columns["label"], columns["confidence"] = vote(model, probs, readable)
    for k, name in enumerate(model.classes):
        columns[f"p_{name}"] = np.where(readable, probs[:, k], np.nan)
    for h, head in enumerate(model.voter.heads):
        if head not in features.names:
            continue
        present = features.present[:, features.names.index(head)].cpu().numpy()
        label, sure = vote(model, outputs.by_head[h].cpu().numpy().astype(float), present)
        columns[f"{head}_label"], columns[f"{head}_confidence"] = label, sure
    return {**columns, "note": notes}


def vote(model: Model, probs: np.ndarray, present: np.ndarray) -> tuple[list, list]:
    """Returns label and confidence per row of (N, C), None and NaN where `present` (N,) is not."""
    if model.voter.multi:  # 'a;b'; as sure as of the least sure of its classes
        from ..self_training.tasks.multi_label import several_words

        labels = several_words(probs, model.classes)
        label = [name if ok else None for name, ok in zip(labels, present, strict=True)]
        return label, np.where(present, np.maximum(probs, 1 - probs).min(1), np.nan).tolist()
    best = probs.argmax(1)
    label = [str(model.classes[k]) if ok else None for k, ok in zip(best, present, strict=True)]
    return label, np.where(present, probs.max(1), np.nan).tolist()


def as_columns(answers: pd.DataFrame) -> dict[str, Any]:
    """Returns the columns of a table of answers."""
    return {str(name): answers[name].tolist() for name in answers.columns}


def lines(answers: dict[str, Any]) -> list[str]:
    """Returns one line an utterance: label, confidence, values, votes of the modalities."""
    heads = [name[: -len("_label")] for name in answers if name.endswith("_label")]
    found = []
    for values in zip(*answers.values(), strict=True):
        row = dict(zip(answers, values, strict=True))
        if "id" not in row:  # a window of a recording
            row["id"] = f"{shown(row['path'], 160)} {row['start']:g}-{row['end']:g} s"
        else:
            row["id"] = shown(row["id"], 160)
        if "row" in row:  # of a table without ids
            row["id"] = f"row {row['row']} {row['id']}"
        affect = [f"{a} {row[a]:.2f}" for a in AFFECT if row.get(a) is not None]
        if "label" not in row:
            answer = ", ".join(affect) if not row["note"] else f"-  ({row['note']})"
            found.append(f"{row['id']}  {answer}")
            continue
        if row["label"] is None or row["label"] != row["label"]:
            found.append(f"{row['id']}  -  ({row['note']})")
            continue
        votes = [
            f"{h}: {shown(row[f'{h}_label'])} {row[f'{h}_confidence']:.2f}"
            for h in heads
            if isinstance(row[f"{h}_label"], str)
        ]
        votes += [row["note"]] if row["note"] else []
        details = f"  ({', '.join(votes)})" if votes else ""
        line = ", ".join([f"{shown(row['label'])} {row['confidence']:.2f}", *affect])
        found.append(f"{row['id']}  {line}{details}")
    return found


def numbered(parts: Iterable[dict[str, Any]], rows: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Yields parts of answers with the numbers of their rows (N,) behind the ids, if there are."""
    at = 0
    for part in parts:
        own = rows[at : at + len(part["note"])]
        at += len(part["note"])
        yield {"id": part["id"], "row": own, **part} if rows else part


def delivered(parts: Iterable[dict[str, Any]], output: str | Path | None, what: str) -> str:
    """Returns the answers as lines, or writes them part by part and returns where they went.

    Raises ManifestError, after that, where no row at all could be labelled.
    """
    tally = _Tally()
    if output is None:
        shown_lines = [line for part in parts for line in lines(tally.count(part))]
        if tally.none:
            raise ManifestError("\n".join(["nothing could be labelled:", *shown_lines[:20]]))
        return "\n".join(shown_lines)
    import pandas as pd

    with growing_table(output) as add:
        for part in parts:
            add(pd.DataFrame(tally.count(part)))
    if tally.none:
        raise ManifestError(
            f"{output}: none of {counted(tally.rows, what)} could be labelled "
            f"({shown(tally.first, 160)}); its column note says why of each"
        )
    partly = tally.noted - tally.lost
    more = f", {tally.lost} of them without a label" if tally.lost else ""
    more += f", {partly} labelled although an input could not be used" if partly else ""
    more += " (see the column note)" if more else ""
    return f"{output}: {counted(tally.rows, what)}{more}"


@dataclass
class _Tally:
    """What the parts of a table come to."""

    rows: int = 0
    lost: int = 0  # without a label
    noted: int = 0  # with a note
    first: str = ""  # the first note

    def count(self, part: dict[str, Any]) -> dict[str, Any]:
        """Returns a part when it is counted."""
        answers = part["label" if "label" in part else "valence"]
        notes = [note for note in part["note"] if note]
        self.rows += len(part["note"])
        self.lost += sum(value is None or value != value for value in answers)
        self.noted += len(notes)
        self.first = self.first or (notes[0] if notes else "")
        return part

    @property
    def none(self) -> bool:
        """Says whether there are rows and none of them has a label."""
        return self.lost == self.rows > 0
