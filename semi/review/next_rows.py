"""`next_rows(run)`: the rows of a run's pool that are most worth a label, with reasons in words.

Letters: P pool rows, k of them that may be asked about.
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
from ..evaluation.ledger_file import last_round, ledger_of
from ..evaluation.text import table as text_table
from ..runs.model_answers import model_answers
from ..runs.reopen import Finished
from ..self_training.tasks import TASKS
from ..training.teacher import Prediction
from .acquisition import RULES
from .batch_choice import ChosenRows, chosen_rows
from .lists import (
    NEXT,
    SHOWN_ROWS,
    check_count,
    check_list,
    measured_ids,
    opened,
    reviewed_ids,
    shown_columns,
    write_list,
)
from .pool_of_run import Asked, candidates_of
from .wording import DRAWN, UNLIKE, apart, doubt, label_of, of_reviewed, votes

if TYPE_CHECKING:
    import pandas as pd

NEXT_RULE = "stratified"
COSTS = ("rows", "seconds")


@dataclass(repr=False)
class NextRows(ShownAsTables):
    """The rows to label next."""

    run: str
    rule: str
    table: pd.DataFrame  # see docs/formats.md
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Returns the first rows as a table for people, and what was left out."""
        at_random = self.table["pick"].tolist().count("random")
        seconds = np.array(self.table["seconds"].tolist(), dtype=float)
        sound = f", {np.nansum(seconds):.0f} s of sound" if np.isfinite(seconds).any() else ""
        speakers = len({s for s in self.table["speaker"].tolist() if isinstance(s, str)})
        by = f" by {counted(speakers, 'speaker')}" if speakers else ""
        head = (
            f"{self.run}: {counted(len(self.table), 'row')}{by} to label next{sound}; "
            f"rule {self.rule}, {at_random} drawn at random"
        )
        first = self.table.head(SHOWN_ROWS)
        rows = first[["id", "pick", "machine_label", "reason"]].astype(str).to_numpy().tolist()
        more = len(self.table) - len(first)
        after = [f"... and {more} more"] if more > 0 else []
        return "\n".join([head, "", text_table(["id", "pick", "machine says", "why"], rows),
                          *after, "", *self.notes])  # fmt: skip


def next_rows(
    run: str | Path, count: float = 50, *, rule: str = NEXT_RULE, cost: str = "rows",
    per_speaker: int | None = None, output: str | Path | None = None, places: Sequence[str] = (),
) -> NextRows:  # fmt: skip
    """Returns the pool rows most worth a label, and writes them to RUN/next.csv and `output`.

    One row in five is drawn at random from the whole pool and marked so: what the others say of
    the machine's labels is no fair sample. Reviewed rows are left out, unless one that was looked
    for is drawn at random now; dev and test rows never are in the pool.

    Args:
        run: folder of a finished run.
        count: rows, or with cost=seconds the seconds of sound they have together at most.
        rule: how they are chosen, one of `semi.review.acquisition.RULES`.
        cost: rows | seconds: what labelling one takes.
        per_speaker: at most so many rows of a speaker; None: twice its fair share of the batch, and
            under `stratified` its share.
        output: a table to write besides.
        places: where the data are now, if they have moved: data.manifest=...

    RunError where the run has no pool, nothing is left of it, or the rule cannot be used with it.
    """
    _check_words(rule, cost, per_speaker)
    check_count(count, cost)
    check_list(Path(run), NEXT, output)
    done = opened(run, places)
    asked, notes = _asked(done, cost)
    model, dataset, seed = done.model, done.dataset, done.run.config.seed
    answers = model_answers(model, dataset, dataset.pool)
    pool = candidates_of(dataset, done.state, answers, asked)
    try:
        chosen = chosen_rows(pool, asked.fresh, rule, count, per_speaker=per_speaker, seed=seed)
    except ValueError as error:
        raise RunError(f"{run}: rule {rule} cannot be used here: {error}; use another --rule"
                       ) from None  # fmt: skip
    again = int((~asked.fresh[chosen.rows]).sum())
    notes += of_reviewed(len(dataset.pool) - int(asked.fresh.sum()) - again, again)
    if not len(chosen.rows):
        raise RunError(
            f"{run}: -n {count:g} seconds is less than the shortest row takes, "
            f"{float(asked.cost.min()):.2f} s; ask for more"
        )
    if cost == "rows" and len(chosen.rows) < count:
        notes.append(_shortfall(asked, chosen, count, per_speaker))
    table = _table(done, answers, asked, chosen, rule)
    notes = [*notes, *write_list(done.run.path, NEXT, table, output)]
    return NextRows(str(run), rule, table, notes)


def _check_words(rule: str, cost: str, per_speaker: int | None) -> None:
    if rule not in RULES:
        raise RunError(f"no rule '{rule}'{nearest(rule, RULES)}; --rule is one of "
                       f"{', '.join(RULES)}")  # fmt: skip
    if cost not in COSTS:
        raise RunError(f"--cost must be rows or seconds, got '{cost}'")
    if per_speaker is not None and per_speaker < 1:
        raise RunError(f"--per-speaker must be at least 1, got {per_speaker}")


def _asked(done: Finished, cost: str) -> tuple[Asked, list[str]]:
    """Returns the pool rows that may be asked about, and sentences.

    These are those that nobody has judged yet, and those that were judged but not as a random
    pick: were they never drawn, what is drawn would be a sample of the rest alone.
    """
    dataset, path = done.dataset, done.run.path
    if done.run.config.task.kind == "affect":
        raise RunError(
            f"{path} has task.kind=affect: rows are chosen by what is said of classes, and valence "
            "and arousal have none; draw rows at random to label more"
        )
    if not len(dataset.pool):
        raise RunError(
            f"{path} has no pool: every training row is labelled, so there is nothing to label "
            "next; semi suspects looks for labels that are wrong"
        )
    known, measured = reviewed_ids(done.run), measured_ids(done.run)
    ids = dataset.ids[dataset.pool.numpy()]
    free = np.array([i not in known for i in ids.tolist()])
    open_rows = np.array([i not in measured for i in ids.tolist()])
    if not free.any():
        raise RunError(
            f"{path}: each of its {counted(len(free), 'pool row')} is reviewed already; train "
            "with data.reviews to learn from them"
        )
    notes: list[str] = []
    rows, fresh = map(torch.from_numpy, (np.flatnonzero(open_rows), free[open_rows]))
    price = torch.ones(len(rows))
    if cost == "seconds":
        table = done.ready.manifest.table.iloc[dataset.pool[rows].numpy()]
        seconds = row_seconds(table)
        if not np.isfinite(seconds).any():
            raise RunError(
                f"{path}: no row of the pool has sound whose length is known; use --cost rows"
            )
        silent = ~np.isfinite(seconds) | (seconds <= 0)
        seconds[silent] = np.median(seconds[~silent])
        if silent.any():
            notes.append(
                f"{counted(int(silent.sum()), 'row')} without sound cost as much as the median"
            )
        price = torch.from_numpy(seconds).float()
    return Asked(rows, price, fresh, _flips(path, ids[open_rows])), notes


def _flips(path: Path, ids: np.ndarray) -> Tensor | None:
    """Returns how often the label of each row (k,) changed by the last round; None without any."""
    number = last_round(path)
    if not number:
        return None
    last = ledger_of(path, ("id", "flips"), number=number).set_index("id")["flips"]
    return torch.from_numpy(last.reindex(ids).fillna(0).to_numpy(dtype=np.float32))


def _shortfall(asked: Asked, chosen: ChosenRows, count: float, per_speaker: int | None) -> str:
    """Returns why there are fewer rows than asked for."""
    if int(asked.fresh[chosen.rows].sum()) == int(asked.fresh.sum()):
        return f"{count:g} rows were asked for; {len(chosen.rows)} is all that is left of the pool"
    limit = f"--per-speaker {per_speaker}" if per_speaker else "twice a speaker's fair share"
    return (
        f"{count:g} rows were asked for, {len(chosen.rows)} found: at most {limit} is taken; "
        "--per-speaker raises that"
    )


def _table(
    done: Finished, answers: Prediction, asked: Asked, chosen: ChosenRows, rule: str
) -> pd.DataFrame:
    """Returns the list as it is written."""
    import pandas as pd

    dataset, voter = done.dataset, done.model.voter
    places = asked.rows[chosen.rows]
    table = done.ready.manifest.table.iloc[dataset.pool[places].numpy()]
    multi = TASKS[done.run.config.task.kind].one_class is False
    classes, heads = dataset.classes, voter.heads[1:]
    labels, reasons = [], []
    for number, place in enumerate(places.tolist()):
        probs = answers.probs[place]
        labels.append(label_of(probs, classes, multi))
        if bool(chosen.at_random[number]):
            reasons.append(DRAWN)
            continue
        parts = [doubt(probs, classes, multi)]
        if heads:
            here = dataset.present[dataset.pool[place]]
            parts.append(apart(votes(answers.by_head[1:, place], here, heads, classes, multi)))
        changes = 0 if asked.flips is None else int(asked.flips[chosen.rows[number]])
        parts += [f"its label changed {counted(changes, 'time')}" if changes else "",
                  UNLIKE.get(rule, "")]  # fmt: skip
        reasons.append("; ".join(part for part in parts if part))
    return pd.DataFrame({
        "id": table["id"].to_numpy(),
        "rank": np.arange(1, len(table) + 1),
        "score": chosen.values.double().numpy().round(6),
        "pick": np.where(chosen.at_random.numpy(), "random", "next"),
        "reason": reasons,
        "machine_label": [label for label, _ in labels],
        "machine_confidence": [round(sure, 4) for _, sure in labels],
        **shown_columns(table, row_seconds(table)),
    })  # fmt: skip
