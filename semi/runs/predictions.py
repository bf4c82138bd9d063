"""What a model says about every utterance of a manifest, with names: compared, mixed, exported.

Letters: N utterances, C classes. Rows that a model cannot read have no answer: every score leaves
them out, and says how many.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..config.task import TaskConfig
from ..data.external_votes import probabilities_of
from ..data.roles import ROLES
from ..data.wording import counted, listed, shown
from ..errors import RunError, reading
from ..evaluation.multitask import AFFECT
from ..files import ANEW, read_table, replacing, write_table

if TYPE_CHECKING:
    import pandas as pd

ROLE_OF = {"oof": "labeled", "dev": "dev", "test": "test"}  # split that is scored -> role of a row


@dataclass
class Predictions:
    """Calibrated probabilities: out-of-fold on gold training rows, of the shipped model elsewhere.

    Roles are those that were drawn: a test row that cannot be read is still a test row.
    """

    name: str
    ids: np.ndarray  # (N,) str
    classes: list[str]
    probs: np.ndarray  # (N, C) float64; NaN where nothing could be said
    role: np.ndarray  # (N,) labeled | pool | dev | test | unused
    label: np.ndarray  # (N,) gold class, or -1; of the pool -1: what is hidden stays so
    group: np.ndarray  # (N,) str
    fold: np.ndarray  # (N,) out-of-fold part of the labeled rows, -1 elsewhere
    manifest: str = ""  # SHA-256 of the manifest
    notes: list[str] = field(default_factory=list)
    kind: str = "single"  # task.kind of the run; affect has no classes
    several: np.ndarray | None = None  # (N, C) 0 or 1: the given labels of a row, NaN unknown
    affect: np.ndarray | None = None  # (N, 2) valence and arousal as said, NaN where unreadable
    affect_truth: np.ndarray | None = None  # (N, 2) as given, NaN unknown

    @property
    def task(self) -> TaskConfig:
        """What is asked of a row."""
        return TaskConfig(self.kind)

    @property
    def answered(self) -> np.ndarray:
        """Where there is an answer (N,) bool."""
        values = self.affect if self.kind == "affect" and self.affect is not None else self.probs
        return np.asarray(np.isfinite(values).all(axis=1))

    def rows(self, split: str) -> np.ndarray:
        """Returns the gold rows (n,) of a split: oof, dev or test; also those without an answer."""
        return np.flatnonzero((self.role == ROLE_OF[split]) & (self.label >= 0))

    def scored(self, split: str) -> np.ndarray:
        """Returns the gold rows of a split that have an answer."""
        rows = self.rows(split)
        return rows[self.answered[rows]]

    def table(self) -> pd.DataFrame:
        """Returns id, role, group, fold, label and p_<class> of every row."""
        import pandas as pd

        names = np.array([*self.classes, None], dtype=object)
        gold = np.array([None, "gold"], dtype=object)  # of valence and arousal alone
        table = {
            "id": self.ids, "role": self.role, "group": self.group, "fold": self.fold,
            "label": names[self.label] if self.classes
            else gold[(self.label >= 0).astype(int)],
        }  # fmt: skip
        table |= {f"p_{c}": self.probs[:, k] for k, c in enumerate(self.classes)}
        if self.several is not None:
            table |= {f"is_{c}": self.several[:, k] for k, c in enumerate(self.classes)}
        if self.affect is not None:
            table |= {f"said_{a}": self.affect[:, i] for i, a in enumerate(AFFECT)}
        if self.affect_truth is not None:
            table |= {a: self.affect_truth[:, i] for i, a in enumerate(AFFECT)}
        return pd.DataFrame(table)

    @classmethod
    def from_table(
        cls, name: str, table: pd.DataFrame, manifest: str = "", kind: str = "single"
    ) -> Predictions:
        """Returns what `table` wrote down; KeyError where it lacks what the kind of task needs."""
        classes = [c[2:] for c in table.columns if c.startswith("p_")]
        task = TaskConfig(kind)

        def columns(names: list[str]) -> np.ndarray:
            return table[names].to_numpy(dtype=np.float64, copy=True)

        number = {c: k for k, c in enumerate(classes)}
        return cls(
            name=name,
            ids=table["id"].to_numpy(dtype=str),
            classes=classes,
            probs=columns([f"p_{c}" for c in classes]),
            role=table["role"].to_numpy(dtype=str),
            label=np.array([number.get(name, -1) for name in table["label"]], dtype=np.int64)
            if classes else (table["label"].notna().to_numpy() - 1).astype(np.int64),
            group=table["group"].to_numpy(dtype=str),
            fold=table["fold"].to_numpy(np.int64, copy=True),
            manifest=manifest,
            kind=kind,
            several=columns([f"is_{c}" for c in classes]) if task.multi else None,
            affect=columns([f"said_{a}" for a in AFFECT]) if task.affect else None,
            affect_truth=columns(list(AFFECT)) if task.affect else None,
        )  # fmt: skip


def write_predictions(path: str | Path, answers: Predictions) -> None:
    """Writes the answers by the ending of the path: .csv, .parquet, or .npz (ids, classes, probs).

    The .npz holds no pickles and is what other tools may bring back as a member of an ensemble.
    """
    if Path(path).suffix != ".npz":
        write_table(path, answers.table())
        return
    more: dict[str, Any] = {} if answers.affect is None else {"affect": answers.affect}
    with replacing(path) as temporary, open(temporary, "wb") as target:
        np.savez(
            target,
            ids=answers.ids.astype(str),
            classes=np.array(answers.classes, dtype=str),
            probs=answers.probs,
            role=answers.role.astype(str),
            **more,
        )


def read_predictions(path: str | Path, name: str, manifest: str, kind: str) -> Predictions:
    """Returns what `write_predictions` kept as a table; RunError where it is no such table.

    Args:
        path: the table.
        name: of the run or ensemble that it belongs to.
        manifest: SHA-256 of the manifest.
        kind: task.kind.
    """
    with reading(path, "a table of what a model says of every row", ANEW):
        table: pd.DataFrame = read_table(path, ("id",))
        order = np.argsort(table["id"].to_numpy(dtype=str), kind="stable")
        table = table.take(order)  # earlier versions kept the order of the manifest
        answers = Predictions.from_table(name, table, manifest, kind)
    if wrong := _wrong(answers, table):
        raise RunError(f"{path} {wrong}; {ANEW}")
    return answers


def _wrong(answers: Predictions, table: pd.DataFrame) -> str:
    """Returns what no model can have said, or ''."""
    if not len(answers.ids):
        return "holds no row"
    if len(set(answers.ids.tolist())) < len(answers.ids):
        return "holds an utterance twice"
    if not answers.classes and answers.kind != "affect":
        return "holds no probabilities: it has no column p_<class>"
    roles = sorted(set(answers.role.tolist()) - set(ROLES))
    if roles:
        return f"has the role {roles[0]!r:.60}, which there is not"
    named = set(table["label"].dropna().tolist()) if answers.classes else set()
    if strange := sorted(map(repr, named - set(answers.classes))):
        return f"has the label {strange[0]:.60}, for which it has no column p_<class>"
    return ""


def read_external(path: str | Path, like: Predictions) -> Predictions:
    """Returns probabilities of any other model, put in the order of a run's rows and classes.

    Args:
        path: .npz with ids, classes, probs; or .csv/.parquet with id and p_<class> columns.
        like: answers of a run on the manifest; rows that the file does not name have no answer.
    """
    path = Path(path)
    if like.kind == "affect":
        raise RunError(
            f"{path} holds probabilities, but {like.name} predicts valence and arousal alone; mix "
            "it with runs of its own kind"
        )
    probs = probabilities_of(
        path, like.ids, like.classes, caller="semi ensemble", owner=f"the run {like.name}",
        several=like.task.multi,
    )  # fmt: skip
    known = np.all(np.isfinite(probs), axis=1)  # (N,)
    gold = like.rows("oof")
    notes = [f"{int(known.sum())} of {counted(len(known), 'utterance')} found in {path.name}"]
    if known[gold].any():
        notes.append(
            f"its {counted(int(known[gold].sum()), 'gold training row', 'counts', 'count')} as "
            "out-of-fold: true only if its model never learned from them"
        )
    if like.task.affect:
        notes.append("it says nothing of valence and arousal, so the others alone do")
    silent = None if like.affect is None else np.full_like(like.affect, np.nan)
    return replace(like, name=path.stem, probs=probs, notes=notes, affect=silent)


def refuse_other_rows(first: Predictions, other: Predictions, splits: tuple[str, ...]) -> None:
    """Raises RunError in one sentence unless both were judged on the same gold rows."""
    if first.kind != other.kind:
        raise RunError(
            f"{other.name} has task.kind={other.kind}, {first.name} has {first.kind}; only runs of "
            "one kind of task go together"
        )
    if first.classes != other.classes:
        raise RunError(
            f"{other.name} has the classes {listed([shown(c, 40) for c in other.classes])}, "
            f"{first.name} has "
            f"{', '.join(first.classes)}; only runs with the same classes go together"
        )
    if first.manifest != other.manifest:
        raise RunError(
            f"{other.name} used another manifest (SHA-256 {other.manifest[:12]}...) than "
            f"{first.name} ({first.manifest[:12]}...); only runs on one manifest go together"
        )
    if not np.array_equal(first.ids, other.ids):
        raise RunError(
            f"{other.name} does not answer the same rows as {first.name} in the same order "
            f"(rows: {len(other.ids)} and {len(first.ids)}); make the older of them anew"
        )
    for split in splits:
        difference = _difference(first, other, split)
        if difference:
            raise RunError(
                f"{other.name} and {first.name} have different gold {split} rows ({difference}); "
                "train them with the same data settings and seed"
            )


def _difference(first: Predictions, other: Predictions, split: str) -> str:
    """Returns how the gold rows of a split differ, or ''."""
    labels, other_labels = (dict(zip(a.ids[a.rows(split)], a.label[a.rows(split)], strict=True))
                    for a in (first, other))  # fmt: skip
    only, lost = len(other_labels.keys() - labels.keys()), len(labels.keys() - other_labels.keys())
    if only or lost:
        return f"{len(other_labels)} against {len(labels)}, {only} of them only in the former"
    moved = sum(labels[k] != other_labels[k] for k in labels)
    return f"{counted(moved, 'label', 'differs', 'differ')}" if moved else ""


def aligned(values: Any, ids: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Returns values (n, ...) of `ids` (n,) in the order of the ids `order`, all of which exist."""
    place = {name: i for i, name in enumerate(ids)}
    return np.asarray(values)[[place[name] for name in order]]
