"""A finished round in TensorBoard: numbers, curves, matrices, picks to listen to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..data.audio import load_audio
from ..data.audio_decoders import SAMPLE_RATE
from ..errors import AudioError
from ..evaluation.tensorboard import NoTracker, Tracker
from ..evaluation.text import over
from ..training.dataset import Dataset
from .state import RoundState

LOGGED_SCORES = ("accuracy", "waf", "macro_f1", "uar", "ece", "aurc", "sample_f1", "ccc")
POINTS = 2000  # rows shown in the projector
CLIPS = 2  # most and least confident picks to listen to, each


def show_round(
    tracker: Tracker, dataset: Dataset, state: RoundState, record: dict, table: pd.DataFrame
) -> None:
    """Writes what a finished round is about to the tracker and closes the round there."""
    if isinstance(tracker, NoTracker):
        return
    _show_scores(tracker, dataset.classes, record)
    bins = record["reliability"]
    if bins:
        columns = ([b[k] for b in bins] for k in ("confidence", "accuracy", "rows"))
        tracker.calibration("oof/calibration", *columns, ece=record["metrics_oof"]["ece"])
    tracker.metrics(
        {"round/added": record["added"], "round/accepted": float(record["accepted"]),
         "round/coverage_asked": record["coverage_asked"]}
    )  # fmt: skip
    classes = record["metrics_oof"].get("classes")  # none where only valence and arousal count
    if classes:
        _show_projector(tracker, dataset, state)
    if classes and state.pseudo_labels is not None:
        _show_picks(tracker, dataset, state, record, table)
    tracker.end_round()


def _show_scores(tracker: Tracker, classes: list[str], record: dict) -> None:
    """Shows the scores of each part of the gold rows, their intervals and confusion matrices."""
    for part, name in (("oof", "metrics_oof"), ("dev", "metrics_dev"), ("test", "metrics_test")):
        found = record[name]
        if not found:
            continue
        tracker.metrics(
            {f"{part}/{s}": found[s] for s in LOGGED_SCORES if found.get(s) is not None}
        )
        every = found.get("intervals") or {}
        ends = {s: (i["low"], i["high"]) for s, i in every.items() if s in LOGGED_SCORES}
        tracker.intervals(part, ends, over(found).removeprefix(", "))
        if found.get("confusion"):
            tracker.confusion(f"{part}/confusion", found["confusion"], classes)


def _show_picks(tracker, dataset, state, record, table) -> None:
    pseudo_labels = state.pseudo_labels
    chosen = pseudo_labels.chosen[-1].cpu().numpy()
    confidence = pseudo_labels.probs.max(1).values.cpu().numpy()
    tracker.confidences("pool/confidence", confidence, chosen)
    gold = dataset.target[dataset.gold].sum(0).cpu().numpy()
    mix = {"added": list(record["class_mix"].values()), "gold": gold.tolist()}
    tracker.class_mix("pool/class_mix", dataset.classes, mix)
    if record["pseudo"]:
        curve = record["pseudo"].get("curve")
        if curve:
            tracker.coverage(
                "pool/precision_by_coverage",
                [c["coverage"] for c in curve],
                [c["precision"] for c in curve],
            )
        tracker.metrics(
            {"pool/precision": record["pseudo"]["precision"],
             "pool/coverage": record["pseudo"]["coverage"]}
        )  # fmt: skip
    rows = dataset.pool.cpu().numpy()
    order = np.flatnonzero(chosen)[np.argsort(-confidence[chosen], kind="stable")]
    for word, some in (("most", order[:CLIPS]), ("least", order[::-1][:CLIPS])):
        for place, at in enumerate(some):
            row = table.iloc[rows[at]]
            label = dataset.classes[int(pseudo_labels.label[-1][at])]
            caption = f"{row['id']}: {label} ({100 * confidence[at]:.0f} %)"
            _show_clip(tracker, f"picks/{word}_confident/{place}", row, caption)


def _show_clip(tracker: Tracker, tag: str, row: Any, caption: str) -> None:
    text = row["text"] if isinstance(row["text"], str) else ""
    if not isinstance(row["audio"], str):
        tracker.text(tag, f"{caption} {text}")
        return
    try:
        wave = load_audio(row["audio"], start=row["start"], end=row["end"])
    except AudioError:  # it was extracted before, so it has gone since: nothing to listen to
        return
    tracker.audio(tag, wave, SAMPLE_RATE, f"{caption} {text}")


def _show_projector(tracker: Tracker, dataset: Dataset, state: RoundState) -> None:
    """Shows the fused probabilities' log-space of gold and pool rows with what they are called."""
    pool, gold = state.outputs.pool_logits[-1][0], state.outputs.oof_logits[0]
    points = np.concatenate([gold.cpu().numpy(), pool.cpu().numpy()])
    rows = np.concatenate([dataset.gold.cpu().numpy(), dataset.pool.cpu().numpy()])
    names = np.array([*dataset.classes, "unlabelled"])
    role = np.array(["gold"] * len(gold) + ["pool"] * len(pool))
    label = np.full(len(rows), len(dataset.classes))
    label[: len(gold)] = dataset.label[dataset.gold].cpu().numpy()
    if state.pseudo_labels is not None:
        chosen = state.pseudo_labels.chosen[-1].cpu().numpy()
        own = label[len(gold) :]
        own[chosen] = state.pseudo_labels.label[-1].cpu().numpy()[chosen]
        role[len(gold) :][chosen] = "picked"
    some = np.linspace(0, len(rows) - 1, min(POINTS, len(rows))).astype(int)
    tracker.embeddings(
        "fused",
        points[some],
        {"label": names[label[some]], "role": role[some], "id": dataset.ids[rows[some]],
         "group": dataset.group[rows[some]]},
    )  # fmt: skip
