"""Everything the review page shows of a run's utterances: one table, built once from the run.

Letters: N utterances, C classes, R rounds in the ledger, M modalities that vote.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from ..checksums import is_current
from ..data.manifest import load_manifest
from ..errors import RunError, SemiError
from ..files import read_table
from ..formulas import unguarded
from ..runs.predictions import Predictions
from ..runs.reopen import PROBS, predictions_of, reopen, result_of, say
from ..self_training.integrity import check_run
from ..self_training.run_dir import Run

HELD_OUT = ("dev", "test")
QUEUES = {"next": "next.csv", "suspects": "suspects.csv"}  # of semi next and semi suspects
HISTORY = ["round", "label", "confidence", "chosen", "accepted", "reason"]


@dataclass
class ReviewTable:
    """A finished run's utterances in the order of their ids, and what was said of each.

    `rows` has one line an utterance: id, role, group, speaker, text, audio, start, end, given (its
    label in the table), said (the machine's label), confidence, margin, flips, contradiction (how
    surely a modality says something else), chosen, first_round, reason, and of a queue that is
    there its place and why (next, next_why, suspects, suspects_why; NaN and '' elsewhere).
    """

    name: str
    path: Path
    kind: str  # task.kind
    classes: list[str]
    rows: pd.DataFrame  # (N, columns)
    probs: np.ndarray  # (N, C) float32 of the model that ships, NaN where nothing was said
    raw: np.ndarray  # (N, C) float32 before calibration, NaN outside the pool
    votes: dict[str, tuple[np.ndarray, np.ndarray]]  # modality -> its labels (N,), how sure (N,)
    history: pd.DataFrame  # the ledger's HISTORY, sorted by utterance
    first: np.ndarray  # (N + 1,) where an utterance's history begins in it
    max_seconds: float = 120.0
    notes: list[str] = field(default_factory=list)  # what could not be had, in sentences

    def __post_init__(self) -> None:
        self.number = {name: n for n, name in enumerate(self.rows["id"].tolist())}

    @property
    def several(self) -> bool:
        """True where an utterance may have several labels."""
        return self.kind.endswith("multi_label")

    @property
    def queues(self) -> list[str]:
        """The queues that the run has."""
        return [name for name in QUEUES if name in self.rows]


def review_table(path: str | Path, places: Sequence[str] = ()) -> ReviewTable:
    """Returns the table of a finished run; RunError where it is unfinished or damaged.

    Args:
        path: the run's folder.
        places: where its data are now, such as data.manifest=moved/table.csv.
    """
    run = Run.open(path, places)
    result = result_of(run)
    check_run(run.path)
    run.need_manifest()
    manifest = load_manifest(run.config.data.manifest, run.config.data).by_id()
    run.bind_manifest(manifest.sha256)
    rows = manifest.table[["id", "speaker", "text", "audio", "start", "end"]].copy()
    splits = read_table(run.path / "splits.csv", ["id", "role", "group"]).set_index("id")
    rows["role"] = splits["role"].reindex(rows["id"]).fillna("unused").to_numpy()
    rows["group"] = splits["group"].reindex(rows["id"]).fillna("").to_numpy()
    # a pool row's label, where the table has one, was hidden from the run: it stays so here
    rows["given"] = manifest.table["label"].where(~rows["role"].isin(["pool", "unused"]), None)
    ledger = read_table(run.path / "ledger.parquet", ["id", "round"])
    answers, notes = _answers(run, places)
    task = run.config.task
    table = ReviewTable(
        run.path.resolve().name, run.path, task.kind,
        [] if task.kind == "affect" else manifest.classes, rows, *_empty(rows, manifest.classes),
        *_history(ledger, rows), run.config.data.max_seconds, notes,
    )  # fmt: skip
    _say_what_was_predicted(table, answers)
    _say_what_was_learned(table, ledger, int(result["best_round"]))
    table.rows["margin"] = _margins(table)
    for name, file in QUEUES.items():
        _add_queue(table, name, run.path / file)
    return table


def _answers(run: Run, places: Sequence[str]) -> tuple[Predictions | None, list[str]]:
    """Returns what the model says of every row, or why that cannot be had."""
    try:
        if places and not is_current(run.path / PROBS):
            return say(reopen(run.path, places)), []
        return predictions_of(run.path), []
    except SemiError as error:  # sounds have gone: the ledger knows of the pool all the same
        return None, [f"what the model says of rows outside the pool is not known: {error}"]


def _empty(rows: pd.DataFrame, classes: list[str]) -> tuple[np.ndarray, np.ndarray, dict]:
    """Adds what is said of nobody yet; returns probabilities and votes of nothing."""
    for name, value in {"said": None, "reason": "", "confidence": np.nan, "margin": np.nan,
                        "contradiction": 0.0, "flips": 0, "first_round": -1,
                        "chosen": False}.items():  # fmt: skip
        rows[name] = pd.Series([value] * len(rows), dtype=object if value is None else None)
    unknown = np.full((len(rows), len(classes)), np.nan, dtype=np.float32)
    return unknown, unknown.copy(), {}


def _history(ledger: pd.DataFrame, rows: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """Returns the ledger sorted by utterance, and where each utterance begins in it (N + 1,)."""
    number = pd.Index(rows["id"]).get_indexer(ledger["id"])
    if (number < 0).any():
        raise RunError("the ledger names utterances that the table of the run does not have")
    order = np.lexsort((ledger["round"].to_numpy(), number))
    kept = ledger.iloc[order][[c for c in HISTORY if c in ledger]].reset_index(drop=True)
    return kept, np.searchsorted(number[order], np.arange(len(rows) + 1))


def _say_what_was_predicted(table: ReviewTable, answers: Predictions | None) -> None:
    """Fills in what the model that ships says of every row."""
    if answers is None or not answers.classes:
        return
    rows, at = table.rows, pd.Index(answers.ids).get_indexer(table.rows["id"])
    table.probs[at >= 0] = answers.probs[at[at >= 0]]
    known = np.flatnonzero(np.isfinite(table.probs).all(1))
    probs, names = table.probs[known], np.array(table.classes, dtype=object)
    if table.several:
        labels = [";".join(names[row >= 0.5]) for row in probs]
        rows.loc[known, "said"] = np.array(labels, dtype=object)
        rows.loc[known, "confidence"] = np.maximum(probs, 1 - probs).min(1)
        return
    rows.loc[known, "said"] = names[probs.argmax(1)]
    rows.loc[known, "confidence"] = probs.max(1)


def _margins(table: ReviewTable) -> np.ndarray:
    """Returns how far the label is before the next best (N,), below 0 where another one is surer.

    Of several labels it is how far the least sure one is from one half.
    """
    probs, margins = table.probs, np.full(len(table.rows), np.nan)
    known = np.flatnonzero(np.isfinite(probs).all(1)) if probs.shape[1] > 1 else []
    if table.several:
        margins[known] = 2 * np.abs(probs[known] - 0.5).min(1)
        return margins
    number = {c: k for k, c in enumerate(table.classes)}
    label = table.rows["said"].map(number)
    known = np.flatnonzero(label.notna() & np.isfinite(probs).all(1)) if number else known
    own = label.to_numpy()[known].astype(int)
    others = probs[known].copy()
    others[np.arange(len(known)), own] = -1
    if probs.shape[1] > 1:
        margins[known] = probs[known, own] - others.max(1)
    return margins


def _say_what_was_learned(table: ReviewTable, ledger: pd.DataFrame, best: int) -> None:
    """Fills in what the round that ships learned of each pool row, and who voted how."""
    rows, own = table.rows, ledger[ledger["round"] == best]
    at = pd.Index(rows["id"]).get_indexer(own["id"])
    if not len(own):  # the warm start ships: nothing was learned
        return
    for name in ("reason", "flips", "first_round"):
        rows.loc[at, name] = own[name].to_numpy()
    rows.loc[at, "chosen"] = own["accepted"].to_numpy()
    table.raw[at] = _classes_of(own, "raw_", table.classes)
    if "label" in own:  # what was, or would have been, learned; the model may have moved on since
        rows.loc[at, "said"] = own["label"].to_numpy(dtype=object)
    if "confidence" in own:
        rows.loc[at, "confidence"] = own["confidence"].to_numpy()
    bare = ~np.isfinite(table.probs).all(1)
    if bare[at].any():  # the answers of the model are not at hand: what the rule saw
        seen = _classes_of(own, "p_", table.classes)
        table.probs[at[bare[at]]] = seen[bare[at]]
    for column in (c for c in own if c.startswith("vote_") and c != "vote_fused"):
        modality = column.removeprefix("vote_")
        said_by, sure = np.full(len(rows), None, dtype=object), np.full(len(rows), np.nan)
        said_by[at] = own[column].where(own[column].notna(), None).to_numpy(dtype=object)
        if f"confidence_{modality}" in own:
            sure[at] = own[f"confidence_{modality}"].to_numpy()
        table.votes[modality] = (said_by, sure)
        against = [
            s if v is not None and v != label and s == s else 0.0
            for v, s, label in zip(said_by[at], sure[at], rows["said"].to_numpy()[at], strict=True)
        ]
        rows.loc[at, "contradiction"] = np.maximum(rows["contradiction"].to_numpy()[at], against)


def _classes_of(own: pd.DataFrame, prefix: str, classes: list[str]) -> np.ndarray:
    names = [f"{prefix}{c}" for c in classes]
    if any(name not in own for name in names):
        return np.full((len(own), len(classes)), np.nan, dtype=np.float32)
    return own[names].to_numpy(dtype=np.float32)


def _add_queue(table: ReviewTable, name: str, path: Path) -> None:
    """Adds the place and the reason of the rows that a queue's file names, where it is there."""
    if not path.is_file():
        return
    queue = read_table(path, ["id"]).drop_duplicates("id")
    at = pd.Index(table.rows["id"]).get_indexer(queue["id"].map(unguarded))
    places = np.full(len(table.rows), np.nan)
    why = np.full(len(table.rows), "", dtype=object)
    number = pd.to_numeric(queue["rank"], errors="coerce") if "rank" in queue else None
    order = np.arange(1, len(queue) + 1) if number is None or number.isna().any() else number
    places[at[at >= 0]] = np.asarray(order, dtype=float)[at >= 0]
    if "reason" in queue:
        why[at[at >= 0]] = queue["reason"].to_numpy(dtype=object)[at >= 0]
    table.rows[name], table.rows[f"{name}_why"] = places, why
    if (at < 0).any():
        table.notes.append(
            f"{path.name} names {int((at < 0).sum())} utterances that this run does not have"
        )
