"""Everything the review page shows of a run's utterances: columns, built once from the run.

Letters: N utterances, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..data.gold import GOLD
from ..data.manifest import load_manifest
from ..data.wording import shown
from ..errors import SemiError
from ..evaluation.ledger_file import ledger_of
from ..evaluation.multitask import AFFECT
from ..evaluation.report_rows import SUSPECTS
from ..evaluation.reviewed_precision import classes_of
from ..files import read_table
from ..runs.predictions import Predictions
from ..runs.reopen import predictions_of, result_of
from ..self_training.integrity import check_run
from ..self_training.run_dir import Run
from .history import History, history_of
from .lists import NEXT

HELD_OUT = ("dev", "test")
QUEUES = {"next": NEXT, "suspects": SUSPECTS}  # of semi next and semi suspects
Columns = dict[str, np.ndarray]


@dataclass
class ReviewTable:
    """A finished run's utterances in the order of their ids, and what was said of each.

    `columns` are arrays (N,): of text (None = missing) id, role, group, speaker, text, audio, given
    (the label in the table), said (the machine's label) and reason; numbers start, end, confidence,
    margin, flips, contradiction (how surely a modality says something else), first_round; chosen is
    bool. Where the run says them there are valence and arousal, and of a queue that it has its
    places, reasons and which rows it drew at random: next, next_why, next_random, suspects ....
    """

    name: str
    path: Path
    kind: str  # task.kind
    classes: list[str]
    columns: Columns
    probs: np.ndarray  # (N, C) float32 of the model that ships, NaN where nothing was said
    seen: np.ndarray  # (N, C) float32 that the rule saw in the round that ships; NaN outside it
    raw: np.ndarray  # (N, C) float32 the same before calibration
    votes: dict[str, tuple[np.ndarray, np.ndarray]]  # modality -> its labels (N,), how sure (N,)
    history: History  # what each round said
    max_seconds: float = 120.0
    notes: list[str] = field(default_factory=list)  # what could not be had, in sentences

    def __post_init__(self) -> None:
        self.number = {name: n for n, name in enumerate(self.columns["id"].tolist())}

    def __len__(self) -> int:
        """Returns the number of utterances."""
        return len(self.columns["id"])

    @property
    def several(self) -> bool:
        """True where an utterance may have several labels."""
        return self.kind.endswith("multi_label")

    def learned(self) -> dict[str, frozenset[str]]:
        """Returns the pseudo-labels of the round that ships, by utterance."""
        columns = self.columns
        rows = np.flatnonzero(columns["chosen"].astype(bool))
        pairs = zip(columns["id"][rows], columns["said"][rows], strict=True)
        return {name: classes_of(label) for name, label in pairs if isinstance(label, str)}

    @property
    def queues(self) -> list[str]:
        """The queues that the run has."""
        return [name for name in QUEUES if name in self.columns]


def review_table(path: str | Path, places: Sequence[str] = ()) -> ReviewTable:
    """Returns the table of a finished run; RunError where it is unfinished or damaged.

    Args:
        path: the run's folder.
        places: where its data are now, such as data.manifest=moved/table.csv.
    """
    run = Run.open(path, places)
    best = int(result_of(run)["best_round"])
    check_run(run.path)
    run.need_manifest()
    manifest = load_manifest(run.config.data.manifest, run.config.data, sounds=False).by_id()
    run.bind_manifest(manifest.sha256)
    kind, n = run.config.task.kind, len(manifest)
    classes = [] if kind == "affect" else manifest.classes
    columns = _columns(manifest.table, read_table(run.path / "splits.csv", ["id", "role", "group"]))
    _take_reviewed_gold(columns, run.path / GOLD)
    answers, notes = _answers(run, places)
    probs, seen, raw = np.full((3, n, len(classes)), np.nan, dtype=np.float32)
    table = ReviewTable(
        run.path.resolve().name, run.path, kind, classes, columns, probs, seen, raw, {},
        history_of(run.path, columns["id"]), run.config.data.max_seconds, notes,
    )  # fmt: skip
    _say_what_was_predicted(table, answers)
    _say_what_was_learned(table, ledger_of(run.path, ("id",), None, best))
    columns["margin"] = _margins(table)
    columns["contradiction"] = _contradictions(table)
    for name, file in QUEUES.items():
        _add_queue(table, name, run.path / file)
    return table


def _columns(manifest: Any, splits: Any) -> Columns:
    """Returns what is known of the rows before anything was said of them."""
    n = len(manifest)
    columns = {name: manifest[name].to_numpy(dtype=object)
               for name in ("id", "speaker", "text", "audio", "label")}  # fmt: skip
    columns |= {name: manifest[name].to_numpy(dtype=float) for name in ("start", "end")}
    at = pd.Index(splits["id"]).get_indexer(list(columns["id"]))
    for name, missing in (("role", "unused"), ("group", "")):
        found = splits[name].to_numpy(dtype=object)
        columns[name] = np.array([found[k] if k >= 0 else missing for k in at], dtype=object)
    # a pool row's label, where the table has one, was hidden from the run: it stays so here
    known = np.isin(columns["role"].astype(str), ("labeled", *HELD_OUT))
    columns["given"] = np.where(known, columns.pop("label"), None)
    return columns | {
        "said": np.full(n, None, dtype=object), "reason": np.full(n, "", dtype=object),
        "confidence": np.full(n, np.nan), "flips": np.zeros(n, np.int64),
        "first_round": np.full(n, -1), "chosen": np.zeros(n, dtype=bool),
    }  # fmt: skip


def _take_reviewed_gold(columns: Columns, path: Path) -> None:
    """Fills in the labels that people gave before the run, where it learned from reviews."""
    if not path.is_file():
        return
    gold: Any = read_table(path, ["id", "use", "label"])
    label = dict(zip(gold["id"], gold["label"], strict=True))
    for n in np.flatnonzero(columns["role"] == "labeled"):
        columns["given"][n] = label.get(columns["id"][n], columns["given"][n])


def _answers(run: Run, places: Sequence[str]) -> tuple[Predictions | None, list[str]]:
    """Returns what the model says of every row, or why that cannot be had."""
    try:
        return predictions_of(run.path, places), []
    except SemiError as error:  # sounds have gone: the ledger knows of the pool all the same
        why = shown(" ".join(str(error).split()), 300)
        return None, [f"what the model says of rows outside the pool is not known: {why}"]


def _say_what_was_predicted(table: ReviewTable, answers: Predictions | None) -> None:
    """Fills in what the model that ships says of every row."""
    if answers is None:
        return
    columns, at = table.columns, pd.Index(answers.ids).get_indexer(list(table.columns["id"]))
    if answers.affect is not None:
        for k, name in enumerate(AFFECT):
            columns[name] = np.where(at >= 0, answers.affect[at, k], np.nan)
    if not table.classes:
        return
    table.probs[at >= 0] = answers.probs[at[at >= 0]]
    known = np.flatnonzero(np.isfinite(table.probs).all(1))
    probs, names = table.probs[known], np.array(table.classes, dtype=object)
    if table.several:
        columns["said"][known] = [";".join(names[row >= 0.5]) or None for row in probs]
        columns["confidence"][known] = np.maximum(probs, 1 - probs).min(1)
    else:
        columns["said"][known] = names[probs.argmax(1)]
        columns["confidence"][known] = probs.max(1)


def _say_what_was_learned(table: ReviewTable, own: Any) -> None:
    """Fills in what the round that ships learned of each pool row, and who voted how.

    Args:
        table: the rows.
        own: the ledger's rows of that round; none where the warm start ships.
    """
    columns = table.columns
    at = pd.Index(columns["id"]).get_indexer(list(own["id"]))
    if not len(own):
        return
    for name, column in (("reason", "reason"), ("flips", "flips"), ("first_round", "first_round"),
                         ("chosen", "accepted"), ("said", "label"),
                         ("confidence", "confidence")):  # fmt: skip
        if column in own:  # of valence and arousal there is no label
            columns[name][at] = own[column].to_numpy()
    table.raw[at] = _classes_of(own, "raw_", table.classes)
    table.seen[at] = _classes_of(own, "p_", table.classes)
    # where the model's own answers are not at hand: what the rule saw
    bare = ~np.isfinite(table.probs).all(1)
    table.probs[bare] = table.seen[bare]
    heads = [c.removeprefix("vote_") for c in own if c.startswith("vote_") and c != "vote_fused"]
    for modality in heads:
        labels, sure = np.full(len(table), None, dtype=object), np.full(len(table), np.nan)
        labels[at] = [v if isinstance(v, str) else None for v in own[f"vote_{modality}"]]
        sure[at] = own[f"confidence_{modality}"].to_numpy()
        table.votes[modality] = labels, sure


def _classes_of(own: Any, prefix: str, classes: list[str]) -> np.ndarray:
    names = [f"{prefix}{c}" for c in classes]
    if any(name not in own for name in names):
        return np.full((len(own), len(classes)), np.nan, dtype=np.float32)
    return own[names].to_numpy(dtype=np.float32)


def _margins(table: ReviewTable) -> np.ndarray:
    """Returns how far the label is before the next best (N,), below 0 where another one is surer.

    Of several labels it is how far the least sure one is from one half.
    """
    probs, margins = table.probs, np.full(len(table), np.nan)
    if probs.shape[1] < 2:
        return margins
    finite = np.isfinite(probs).all(1)
    if table.several:
        margins[finite] = 2 * np.abs(probs[finite] - 0.5).min(1)
        return margins
    number = {c: k for k, c in enumerate(table.classes)}
    label = np.array([number.get(c, -1) for c in table.columns["said"]])
    known = np.flatnonzero(finite & (label >= 0))
    own = probs[known, label[known]]
    others = probs[known].copy()
    others[np.arange(len(known)), label[known]] = -1
    margins[known] = own - others.max(1)
    return margins


def _contradictions(table: ReviewTable) -> np.ndarray:
    """Returns how sure the surest modality is that says another label (N,), 0 where none does."""
    found = np.zeros(len(table))
    for labels, sure in table.votes.values():
        against = np.array([v is not None for v in labels]) & (labels != table.columns["said"])
        found[against] = np.fmax(found[against], np.nan_to_num(sure[against]))
    return found


def _add_queue(table: ReviewTable, name: str, path: Path) -> None:
    """Adds the place and the reason of the rows that a queue's file names, where it is there."""
    if not path.is_file():
        return
    queue: Any = read_table(path, ["id"]).drop_duplicates("id")
    at = pd.Index(table.columns["id"]).get_indexer(list(queue["id"]))
    places, why = np.full(len(table), np.nan), np.full(len(table), "", dtype=object)
    order = np.arange(1.0, len(queue) + 1)  # the file's own, where it names no rank
    if "rank" in queue:
        given: Any = pd.to_numeric(queue["rank"], errors="coerce")
        given = given.to_numpy(dtype=float)
        order = order if np.isnan(given).any() else given
    places[at[at >= 0]] = order[at >= 0]
    if "reason" in queue:
        why[at[at >= 0]] = queue["reason"].to_numpy(dtype=object)[at >= 0]
    drawn = np.zeros(len(table), dtype=bool)
    if "pick" in queue:
        drawn[at[at >= 0]] = (queue["pick"].to_numpy(dtype=object) == "random")[at >= 0]
    table.columns |= {name: places, f"{name}_why": why, f"{name}_random": drawn}
    if missing := int((at < 0).sum()):
        table.notes.append(f"{path.name} names {missing} utterances that this run does not have")
