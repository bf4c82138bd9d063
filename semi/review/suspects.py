"""`suspects(run)`: given labels that out-of-fold answers contradict surely, with reasons in words.

Letters: n gold rows, C classes, M modalities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..data.audio import row_seconds
from ..data.wording import counted, nearest
from ..errors import RunError
from ..evaluation.as_tables import ShownAsTables
from ..evaluation.report_rows import SUSPECTS
from ..evaluation.text import table as text_table
from ..runs.reopen import Finished
from .label_errors import LABEL_ERROR_RULES
from .lists import (
    SHOWN_ROWS,
    check_count,
    check_list,
    opened,
    reviewed_ids,
    shown_columns,
    write_list,
)
from .wording import label_of, votes

if TYPE_CHECKING:
    import pandas as pd

SUSPECTS_RULE = "normalized_margin"


@dataclass(repr=False)
class Suspects(ShownAsTables):
    """Gold rows whose label looks wrong, the worst first."""

    run: str
    gold: int  # labelled training rows that were looked at
    table: pd.DataFrame  # see docs/formats.md
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Returns the first rows as a table for people."""
        what = counted(self.gold, "labelled row")
        if not len(self.table):
            return "\n".join([f"{self.run}: out-of-fold answers contradict none of {what}",
                              *self.notes])  # fmt: skip
        head = f"{self.run}: {len(self.table)} of {what} look wrong, the worst first"
        first = self.table.head(SHOWN_ROWS)
        more = len(self.table) - len(first)
        return "\n".join([
            head, "", text_table(["id", "why"], first[["id", "reason"]].to_numpy().tolist()),
            *([f"... and {more} more"] if more else []), "", *self.notes,
        ])  # fmt: skip


def suspects(
    run: str | Path, count: int = 30, *, rule: str = SUSPECTS_RULE,
    output: str | Path | None = None, places: Sequence[str] = (),
) -> Suspects:  # fmt: skip
    """Returns the gold training rows whose label looks wrong; writes RUN/suspects.csv and `output`.

    A row is listed where models that never saw it prefer another class (of several labels: deny a
    given one, or assert one that is not given). Rows that somebody reviewed are not asked again.

    Args:
        run: folder of a finished run.
        count: rows at most.
        rule: how they are ranked, one of `semi.review.label_errors.LABEL_ERROR_RULES`.
        output: a table to write besides.
        places: where the data are now, if they have moved: data.manifest=...

    RunError where there is nothing to look at.
    """
    if rule not in LABEL_ERROR_RULES:
        raise RunError(f"no rule '{rule}'{nearest(rule, LABEL_ERROR_RULES)}; --rule is one of "
                       f"{', '.join(LABEL_ERROR_RULES)}")  # fmt: skip
    check_count(count)
    check_list(Path(run), SUSPECTS, output)
    done = opened(run, places)
    if done.run.config.task.kind == "affect":
        raise RunError(
            f"{run} has task.kind=affect: labels are held against the classes that models say, and "
            "valence and arousal have none"
        )
    dataset, known = done.dataset, reviewed_ids(done.run)
    ids = dataset.ids[dataset.gold.numpy()]
    free = torch.tensor([i not in known for i in ids.tolist()], dtype=torch.bool)
    found = _contradicted(done, rule)
    listed = [place for place in found.order.tolist() if bool(free[place])][: int(count)]
    notes = []
    if not free.all():
        notes.append(f"{counted(int((~free).sum()), 'row')} not asked again: reviewed")
    if 0 < len(listed) < count:
        notes.append(f"{count:g} rows were asked for; these are all that are contradicted")
    table = _table(done, found, listed)
    notes += write_list(done.run.path, SUSPECTS, table, output)
    return Suspects(str(run), int(free.sum()), table, notes)


@dataclass
class _Found:
    """How wrong each gold row looks."""

    value: Tensor  # (n,)
    order: Tensor  # the contradicted rows, the worst first
    probs: Tensor  # (n, C) out-of-fold
    given: Tensor  # (n, C) bool, the labels of each row


def _contradicted(done: Finished, rule: str) -> _Found:
    """Returns how wrong each gold row looks, and those that are contradicted in an order."""
    dataset, outputs = done.dataset, done.state.outputs
    probs = outputs.oof
    if dataset.multi is not None:  # each class is a question of its own: yes or no
        given = dataset.target[dataset.gold] > 0.5  # (n, C)
        pairs = torch.stack([1 - probs, probs], -1)  # (n, C, 2)
        by_class = torch.stack([
            LABEL_ERROR_RULES[rule](pairs[:, c], given[:, c].long()) for c in range(probs.shape[1])
        ], 1)  # fmt: skip
        value, wrong = by_class.amax(1), ((probs > 0.5) != given).any(1)
    else:
        label = dataset.label[dataset.gold]
        given = torch.nn.functional.one_hot(label, probs.shape[1]).bool()
        value = LABEL_ERROR_RULES[rule](probs, label)
        wrong = probs.argmax(1) != label
    # rows of one value stand in the order of their hashes, and not in that of the table
    by_tie = dataset.hashed(dataset.gold).argsort()
    order = by_tie[value[by_tie].argsort(descending=True, stable=True)]
    return _Found(value, order[wrong[order]], probs, given)


def _table(done: Finished, found: _Found, listed: list[int]) -> pd.DataFrame:
    """Returns the list as it is written."""
    import pandas as pd

    dataset, classes = done.dataset, done.dataset.classes
    multi = dataset.multi is not None
    table = done.ready.manifest.table.iloc[dataset.gold[listed].numpy()]
    labels = [label_of(found.probs[place], classes, multi) for place in listed]
    return pd.DataFrame({
        "id": table["id"].to_numpy(),
        "rank": np.arange(1, len(table) + 1),
        "score": found.value[listed].double().numpy().round(6),
        "pick": np.full(len(table), "suspect", dtype=object),
        "reason": [_reason(done, found, place) for place in listed],
        "label": [_names(found.given[place], classes) for place in listed],
        "machine_label": [label for label, _ in labels],
        "machine_confidence": [round(sure, 4) for _, sure in labels],
        **shown_columns(table, row_seconds(table)),
    })  # fmt: skip


def _names(given: Tensor, classes: list[str]) -> str:
    return ";".join(name for name, yes in zip(classes, given.tolist(), strict=True) if yes)


def _reason(done: Finished, found: _Found, place: int) -> str:
    """Returns why a row looks wrong: 'labelled joy; out-of-fold says anger at 0.93, as does text'.

    Of several labels a row the class that is contradicted most.
    """
    dataset, probs, given = done.dataset, found.probs[place], found.given[place]
    classes = dataset.classes
    if dataset.multi is not None:
        c = int(torch.where(given, 1 - probs, probs).argmax())
        verdict = f"out-of-fold says {classes[c]} at {float(probs[c]):.2f}"
        return f"labelled {'with' if given[c] else 'without'} {classes[c]}; {verdict}"
    preferred, sure = label_of(probs, classes, False)
    words = f"labelled {_names(given, classes)}; out-of-fold says {preferred} at {sure:.2f}"
    heads = done.state.outputs.voter.heads[1:]
    if not heads:
        return words
    by_modality = done.state.outputs.oof_heads[1:, place]
    alone = votes(by_modality, dataset.present[dataset.gold[place]], heads, classes, False)
    agreeing = [name for name, label in alone.items() if label == preferred]
    others = [f"{name} says {label}" for name, label in alone.items() if label != preferred]
    if agreeing:
        words += f", as {'does' if len(agreeing) == 1 else 'do'} {' and '.join(agreeing)}"
    return "; ".join([words, *others])
