"""`evaluate(run, split)`: a finished run's model on gold rows that it never trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..data.manifest import Manifest
from ..data.roles import Splits
from ..data.wording import counted
from ..errors import RunError
from ..evaluation.multitask import AFFECT
from ..evaluation.names import MULTI_NAMES, SINGLE_NAMES
from ..evaluation.run_json import read_round_record
from ..evaluation.text import over, percent, table
from ..features.remote import store_there
from ..self_training.integrity import check_run
from ..self_training.resumed import refuse_other_sides
from ..self_training.run_dir import Run
from ..self_training.tasks import TASKS
from ..training.rows import read_rows
from .reopen import result_of
from .reviewed_rows import reviewed_truth

EVALUATED_SPLITS = ("test", "dev", "oof")


@dataclass(repr=False)
class Evaluation:
    """Scores on gold rows."""

    run: str
    split: str  # test | dev | oof | reviewed
    classes: list[str]
    metrics: dict[str, Any]  # see semi.evaluation.metrics.Metrics; "intervals" beside them
    left_out: int = 0  # gold rows without any modality that can be used, as in the run's report
    notes: list[str] = field(default_factory=list)  # which rows these are, in sentences

    def __str__(self) -> str:
        """Returns the scores with intervals, the classes and the confusion matrix."""
        m, intervals = self.metrics, self.metrics.get("intervals") or {}
        notes = list(self.notes)
        if self.left_out:
            notes.append(f"{self.left_out} more cannot be read, left out as in its report")
        what = {"oof": "out-of-fold training", "reviewed": "held-out, reviewed"}.get(
            self.split, self.split
        )
        if "f1" not in m or "sample_f1" in m:
            return task_words(self.run, what, m, notes)
        parts = [f"{self.run}: {counted(m['rows'], f'gold {what} row')}{over(m)}", *notes, ""]
        scores = [
            [name, percent(m.get(key), intervals.get(key, {}).get("low"),
                           intervals.get(key, {}).get("high"))]
            for key, name in SINGLE_NAMES.items()
        ]  # fmt: skip
        parts += [table(["score", "%"], scores), ""]
        for key, name in (("ece", "calibration error"), ("aurc", "area under risk-coverage")):
            if m.get(key) is not None:
                parts.append(f"{name} {100 * m[key]:.1f} %")
        rows = [
            [c, *(percent(m[k][i]) for k in ("precision", "recall", "f1")), str(m["support"][i])]
            for i, c in enumerate(self.classes)
        ]
        parts += ["", table(["class", "precision", "recall", "F1", "rows"], rows)]
        if m.get("confusion"):
            head = ["gold \\ said", *self.classes]
            body = [[c, *map(str, r)] for c, r in zip(self.classes, m["confusion"], strict=True)]
            parts += ["", table(head, body)]
        return "\n".join(parts)

    def __repr__(self) -> str:
        """Returns what a prompt shows: the same as is printed."""
        return str(self)

    def _repr_html_(self) -> str:
        """Returns what a notebook shows: the same as tables."""
        from ..evaluation.notebook import scores_html

        return scores_html(self.run, f"metrics_{self.split}", self.metrics)


def evaluate(
    run: str | Path, split: str = "test", *, places: Sequence[str] = (),
    reviews: Sequence[str] = (),
) -> Evaluation:  # fmt: skip
    """Returns the scores of a run's model on gold rows of `split`: test, dev or oof.

    The out-of-fold scores are the run's own (no single model saw none of those rows); test and dev
    are computed anew from the model directory. `places` says where the data are now, if they have
    moved: data.manifest=moved/table.csv, data.audio_root=..., features.store=.... With `reviews`,
    files of `semi review`, the held-out rows that people labelled there are scored, by their words.
    """
    if split not in EVALUATED_SPLITS:
        raise RunError(f"split must be one of {', '.join(EVALUATED_SPLITS)}, got '{split}'")
    opened = Run.open(run, places)
    check_run(run)
    task = opened.config.task
    if reviews and task.kind == "affect":
        raise RunError(
            f"{run} has task.kind=affect: reviews name classes, which it has none of; leave "
            "--reviews out"
        )
    if not reviews and (split == "oof" or not TASKS[task.kind].one_class):
        metrics, classes = _recorded(opened, split)
        return Evaluation(str(run), split, classes, metrics)
    opened.need_manifest()
    manifest, splits = read_rows(opened.config)
    opened.bind_manifest(manifest.sha256)
    refuse_other_sides(opened.path, manifest, splits)
    if reviews:
        rows, truth, notes = reviewed_truth(
            manifest, splits, opened.config.data, reviews, several=task.multi
        )
        return _scored(opened, manifest, splits, _Gold("reviewed", rows, truth, notes))
    gold = (splits.role == split) & (splits.label >= 0)
    if not gold.any():
        others = [
            s for s in EVALUATED_SPLITS[:2] if ((splits.role == s) & (splits.label >= 0)).any()
        ]
        alternatives = f"; it has {' and '.join(others)}" if others else ""
        raise RunError(f"{run} has no gold row in the split {split}{alternatives}, and always oof")
    truth = np.eye(len(manifest.classes), dtype=np.float32)[splits.label[gold]]
    return _scored(opened, manifest, splits, _Gold(split, np.flatnonzero(gold), truth, []))


@dataclass
class _Gold:
    """The n rows that a model is scored on."""

    split: str  # test | dev | reviewed
    rows: np.ndarray  # (n,)
    truth: np.ndarray  # (n, C) 1 for each class of a row, else 0
    notes: list[str]  # which rows these are, in sentences


def _scored(opened: Run, manifest: Manifest, splits: Splits, asked: _Gold) -> Evaluation:
    """Returns the scores of the run's model on the rows that are asked for."""
    from ..evaluation.metrics import measured, name_groups
    from ..evaluation.multitask import multi_measured
    from .predict import load

    predictor, config, run = load(opened.path), opened.config, opened.path
    predictor.model.config.data = config.data
    gold = np.zeros(len(manifest), dtype=bool)
    gold[asked.rows] = True
    # with every row of these speakers, because a new speaker is standardised by all of his rows
    speaker = manifest.table["speaker"]
    mates = speaker.isin([s for s in speaker[gold] if isinstance(s, str)]).to_numpy()
    rows = np.flatnonzero(gold | (mates & np.isin(splits.role, ("dev", "test", "unused"))))
    answers = predictor.predict(
        manifest.table.iloc[rows].reset_index(drop=True),
        store=store_there(config.features.store),
    )
    probs = answers[[f"p_{c}" for c in manifest.classes]].to_numpy()
    scored = gold[rows] & ~np.isnan(probs).any(1)  # training leaves the others out of its report
    lost = int(gold.sum() - scored.sum())
    if not scored.any():
        raise RunError(
            f"{run}: none of the {counted(lost, 'gold row')} in the split {asked.split} can be read"
        )
    truth = asked.truth[np.searchsorted(asked.rows, rows[scored])]
    probs, group = probs[scored], splits.group[rows][scored]
    if config.task.multi:
        metrics = multi_measured(probs, truth, group, manifest.classes)
    else:
        metrics = measured(probs, truth.argmax(1), group, manifest.classes)
    name_groups(metrics, splits.group_kind)
    return Evaluation(str(run), asked.split, manifest.classes, metrics, lost, asked.notes)


def _recorded(run: Run, split: str) -> tuple[dict, list[str]]:
    """Returns what the run itself measured when the round that ships was judged."""
    record = read_round_record(run.round_dir(result_of(run)["best_round"]))
    metrics = record[f"metrics_{split}"]
    if metrics is None:
        raise RunError(f"{run.path} has no gold row in the split {split}")
    return metrics, metrics.get("classes", [])


def task_words(run: str, what: str, metrics: dict, notes: Sequence[str] = ()) -> str:
    """Returns the scores of several labels a row, or of valence and arousal, below the notes."""
    intervals = metrics.get("intervals") or {}
    scores = [
        [name, percent(metrics[key], *_ends(intervals.get(key)))]
        for key, name in MULTI_NAMES.items()
        if key in metrics
    ]
    for name in AFFECT:
        found = (metrics.get("affect") or {}).get(name)
        if found:
            ends = _ends((found.get("intervals") or {}).get("ccc"))
            scores.append([f"{name} CCC", percent(found["ccc"], *ends)])
            scores.append([f"{name} Pearson", percent(found["pearson"])])
            scores.append([f"{name} RMSE", f"{found['rmse']:.3f}"])
    parts = [
        f"{run}: {counted(metrics['rows'], f'gold {what} row')}{over(metrics)}",
        *notes,
        "",
        table(["score", "%"], scores),
    ]
    if "f1" in metrics:
        rows = [
            [c, *(percent(metrics[k][i]) for k in ("precision", "recall", "f1")),
             str(metrics["support"][i])]
            for i, c in enumerate(metrics["classes"])
        ]  # fmt: skip
        parts += ["", table(["class", "precision", "recall", "F1", "rows"], rows)]
    return "\n".join(parts)


def _ends(interval: dict | None) -> tuple[float | None, float | None]:
    return (interval or {}).get("low"), (interval or {}).get("high")
