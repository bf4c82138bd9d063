"""What a model says about every utterance of a manifest, with names: compared, mixed, exported.

Letters: N utterances, C classes. Rows that a model cannot read have no answer: every score leaves
them out, and says how many.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import RunError
from .files import replacing, write_table
from .task_config import TaskConfig
from .task_metrics import AFFECT

if TYPE_CHECKING:
    import pandas as pd

ROLE_OF = {"oof": "labeled", "dev": "dev", "test": "test"}  # split that is scored -> role of a row
LACKS = "say what its columns or keys are: ids, classes and probs in .npz, id and p_<class> in .csv"


@dataclass
class Answers:
    """Calibrated probabilities: out-of-fold on gold training rows, of the shipped model elsewhere.

    Roles are those that were drawn: a test row that cannot be read is still a test row.
    """

    name: str
    ids: np.ndarray  # (N,) str
    classes: list[str]
    probs: np.ndarray  # (N, C) float64; NaN where nothing could be said
    role: np.ndarray  # (N,) labeled | pool | dev | test | unused
    label: np.ndarray  # (N,) gold class, hidden gold too, or -1
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
        said = self.affect if self.kind == "affect" and self.affect is not None else self.probs
        return np.asarray(np.isfinite(said).all(axis=1))

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
        words = np.array([None, "gold"], dtype=object)  # of valence and arousal alone
        table = {
            "id": self.ids, "role": self.role, "group": self.group, "fold": self.fold,
            "label": names[self.label] if self.classes
            else words[(self.label >= 0).astype(int)],
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
    ) -> Answers:
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


def write_answers(path: str | Path, answers: Answers) -> None:
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


def read_external(path: str | Path, like: Answers) -> Answers:
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
    ids, classes, given = read_probabilities(path)
    if sorted(classes) != sorted(like.classes):
        raise RunError(
            f"{path} has the classes {', '.join(classes)}, the run {like.name} has "
            f"{', '.join(like.classes)}; they must be the same labels"
        )
    if len(set(ids)) < len(ids):
        raise RunError(f"{path} names an utterance twice; one row per id")
    total = given.sum(1)
    several = like.task.multi  # each class by itself
    sums = bool((given <= 1).all()) if several else np.allclose(total, 1, atol=0.02)
    if not ((given >= 0).all() and sums):
        raise RunError(
            f"{path} does not hold probabilities: every one must be within 0 and 1 (is it logits?)"
            if several
            else f"{path} does not hold probabilities: rows must be >= 0 and sum to 1, row "
            f"{int(np.abs(np.nan_to_num(total, nan=9) - 1).argmax())} is not (is it logits?)"
        )
    place = {name: i for i, name in enumerate(ids)}
    at = np.array([place.get(name, -1) for name in like.ids])
    if not (at >= 0).any():
        raise RunError(
            f"{path} has none of the utterance ids of {like.name}, such as {like.ids[0]}"
        )
    order = [classes.index(c) for c in like.classes]
    probs = np.where((at >= 0)[:, None], given[at][:, order], np.nan)
    gold = like.rows("oof")
    notes = [f"{int((at >= 0).sum())} of {len(at)} utterances found in {path.name}"]
    if (at[gold] >= 0).any():
        notes.append(
            f"its {int((at[gold] >= 0).sum())} gold training rows count as out-of-fold: true only "
            "if its model never learned from them"
        )
    if like.task.affect:
        notes.append("it says nothing of valence and arousal, so the others alone do")
    silent = None if like.affect is None else np.full_like(like.affect, np.nan)
    return replace(like, name=path.stem, probs=probs, notes=notes, affect=silent)


def read_probabilities(path: Path) -> tuple[list[str], list[str], np.ndarray]:
    """Returns ids, classes and (n, C) probabilities of a file."""
    import pandas as pd

    if not path.is_file():
        raise RunError(f"{path}: no such run, ensemble or file of probabilities")
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as held:
            missing = [k for k in ("ids", "classes", "probs") if k not in held]
            if missing:
                raise RunError(f"{path} lacks {', '.join(missing)}; {LACKS}")
            ids, classes, probs = (held[k] for k in ("ids", "classes", "probs"))
        probs = np.asarray(probs, dtype=np.float64)
        if probs.shape != (len(ids), len(classes)):
            raise RunError(
                f"{path}: probs must be {(len(ids), len(classes))} for its ids and classes, "
                f"got {probs.shape}"
            )
        said = ~np.isnan(probs).any(1)
        return [str(i) for i in ids[said]], [str(c) for c in classes], probs[said]
    if path.suffix not in (".csv", ".parquet"):
        raise RunError(f"{path}: give a run, an ensemble, or probabilities as .npz, .csv, .parquet")
    table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    columns = [c for c in table.columns if str(c).startswith("p_")]
    if "id" not in table or not columns:
        raise RunError(f"{path} lacks {'id' if 'id' not in table else 'p_<class>'}; {LACKS}")
    table = table.dropna(subset=columns)
    ids = table["id"].astype(str).tolist()
    return ids, [c[2:] for c in columns], table[columns].to_numpy(dtype=np.float64)


def refuse_other_rows(first: Answers, other: Answers, splits: tuple[str, ...]) -> None:
    """Raises RunError in one sentence unless both were judged on the same gold rows."""
    if first.kind != other.kind:
        raise RunError(
            f"{other.name} has task.kind={other.kind}, {first.name} has {first.kind}; only runs of "
            "one kind of task go together"
        )
    if first.classes != other.classes:
        raise RunError(
            f"{other.name} has the classes {', '.join(other.classes)}, {first.name} has "
            f"{', '.join(first.classes)}; only runs with the same classes go together"
        )
    if first.manifest != other.manifest:
        raise RunError(
            f"{other.name} used another manifest (SHA-256 {other.manifest[:12]}...) than "
            f"{first.name} ({first.manifest[:12]}...); only runs on one manifest go together"
        )
    for split in splits:
        told = _difference(first, other, split)
        if told:
            raise RunError(
                f"{other.name} and {first.name} have different gold {split} rows ({told}); train "
                "them with the same data settings and seed"
            )


def _difference(first: Answers, other: Answers, split: str) -> str:
    """Returns how the gold rows of a split differ, or ''."""
    mine, theirs = (dict(zip(a.ids[a.rows(split)], a.label[a.rows(split)], strict=True))
                    for a in (first, other))  # fmt: skip
    only, lost = len(theirs.keys() - mine.keys()), len(mine.keys() - theirs.keys())
    if only or lost:
        return f"{len(theirs)} against {len(mine)}, {only} of them only in the former"
    moved = sum(mine[k] != theirs[k] for k in mine)
    return f"{moved} labels differ" if moved else ""


def aligned(values: Any, ids: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Returns values (n, ...) of `ids` (n,) in the order of the ids `order`, all of which exist."""
    place = {name: i for i, name in enumerate(ids)}
    return np.asarray(values)[[place[name] for name in order]]
