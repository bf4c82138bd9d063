"""A finished round as trackers show it: numbers, curves, matrices, picks to listen to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch

from ..data.audio import load_audio
from ..data.audio_decoders import SAMPLE_RATE
from ..errors import AudioError
from ..evaluation.text import over
from ..evaluation.trackers.sampling import drawn_of, sample
from ..evaluation.trackers.several import Trackers
from ..evaluation.trackers.tracker import part_name
from ..training.dataset import Dataset
from ..training.vectors import fused_vectors
from .state import PseudoLabels, RoundState

LOGGED_SCORES = ("accuracy", "waf", "macro_f1", "uar", "ece", "aurc", "sample_f1", "ccc")
POINTS = 2000  # rows shown in the projector, half of them gold where there are as many
CLIPS = 2  # most and least confident picks to listen to, each


def show_round(
    trackers: Trackers, dataset: Dataset, state: RoundState, record: dict, table: pd.DataFrame
) -> None:
    """Shows what a finished round is about in the trackers it is open in, and closes it there.

    Args:
        trackers: the run's trackers.
        dataset: what was learned from.
        state: the round, new or read back.
        record: its round.json.
        table: the manifest's rows, those of the dataset.
    """
    if not trackers:
        return
    _show_scores(trackers, dataset.classes, record)
    if record["reliability"]:
        ece = record["metrics_oof"].get("ece")
        trackers.calibration("oof/calibration", record["reliability"], ece)
    trackers.scalars(
        {"round/added": record["added"], "round/accepted": float(record["accepted"]),
         "round/coverage_asked": record["coverage_asked"]}
    )  # fmt: skip
    classes = record["metrics_oof"].get("classes")  # none where only valence and arousal count
    if classes and state.ensemble is not None:
        _show_points(trackers, dataset, state)
    if classes and state.pseudo_labels is not None:
        confidence = state.pseudo_labels.probs.max(1).values.cpu().numpy()
        _show_pool(trackers, dataset, confidence, state.pseudo_labels, record)
        _show_picks(trackers, dataset, confidence, state.pseudo_labels, table)
    trackers.end_round()


def _show_scores(trackers: Trackers, classes: list[str], record: dict) -> None:
    """Shows the scores of each part of the gold rows, their intervals and confusion matrices."""
    for part, name in (("oof", "metrics_oof"), ("dev", "metrics_dev"), ("test", "metrics_test")):
        found = record[name]
        if not found:
            continue
        trackers.scalars({f"{part}/{s}": found.get(s) for s in LOGGED_SCORES})
        if found.get("f1"):
            trackers.by_class(f"{part}/f1", found["classes"], found["f1"])
        every = found.get("intervals") or {}
        ends = {
            s: (i["low"], i["high"])
            for s, i in every.items()
            if s in LOGGED_SCORES and None not in (i["low"], i["high"])
        }
        trackers.intervals(part, ends, over(found).removeprefix(", "))
        if found.get("confusion"):
            trackers.confusion(f"{part}/confusion", found["confusion"], classes)


def _show_pool(
    trackers: Trackers, dataset: Dataset, confidence: np.ndarray, learned: PseudoLabels,
    record: dict,
) -> None:  # fmt: skip
    """Shows what was picked: how surely (P,), of which classes, and how right if that is known."""
    trackers.confidences("pool/confidence", confidence, learned.chosen[-1].cpu().numpy())
    gold = dataset.target[dataset.gold].sum(0).cpu().numpy()
    mix = {"added": list(record["class_mix"].values()), "gold": gold.tolist()}
    trackers.class_mix("pool/class_mix", dataset.classes, mix)
    if record["pseudo"]:
        curve = record["pseudo"].get("curve")
        if curve:
            trackers.coverage(
                "pool/precision_by_coverage",
                [c["coverage"] for c in curve],
                [c["precision"] for c in curve],
            )
        trackers.scalars(
            {"pool/precision": record["pseudo"]["precision"],
             "pool/coverage": record["pseudo"]["coverage"]}
        )  # fmt: skip


def _show_picks(
    trackers: Trackers, dataset: Dataset, confidence: np.ndarray, learned: PseudoLabels,
    table: pd.DataFrame,
) -> None:  # fmt: skip
    """Shows the most and the least confident picks, by their label and id."""
    picked = np.flatnonzero(learned.chosen[-1].cpu().numpy())
    most = surest(confidence[picked], CLIPS)
    least = len(picked) - 1 - surest(-confidence[picked][::-1], CLIPS)  # of equals the last
    rows, labels = dataset.pool, learned.label[-1]
    for word, some in (("most", most), ("least", least)):
        for at in picked[some].tolist():
            row = table.iloc[int(rows[at])]
            label = dataset.classes[int(labels[at])]
            name = f"picks/{word}_confident/{part_name(label)} {part_name(row['id'])}"
            words = f"{row['id']}: {label} ({100 * confidence[at]:.0f} %)"
            _show_clip(trackers, name, row, words)


def surest(confidence: np.ndarray, most: int) -> np.ndarray:
    """Returns the places of the greatest values (N,), the greatest first, of equals the first."""
    if len(confidence) <= most:
        return np.argsort(-confidence, kind="stable")
    least = np.partition(confidence, -most)[-most]
    among = np.flatnonzero(confidence >= least)  # few but where many are equal
    return among[np.argsort(-confidence[among], kind="stable")[:most]]


def _show_clip(trackers: Trackers, name: str, row: Any, words: str) -> None:
    text = row["text"] if isinstance(row["text"], str) else ""
    if not isinstance(row["audio"], str):
        trackers.text(name, f"{words} {text}")
        return
    try:
        wave = load_audio(row["audio"], start=row["start"], end=row["end"])
    except AudioError:  # it was extracted before, so it has gone since: nothing to listen to
        return
    trackers.audio(name, wave, SAMPLE_RATE, f"{words} {text}")


def _show_points(trackers: Trackers, dataset: Dataset, state: RoundState) -> None:
    """Shows the fused vectors of some gold and pool rows with what they are called."""
    if state.ensemble is None:
        return
    gold, pool = len(dataset.gold), len(dataset.pool)
    shown = torch.from_numpy(sample(gold, max(POINTS // 2, POINTS - pool)))
    others = torch.from_numpy(sample(pool, POINTS - len(shown)))
    at = torch.cat([dataset.gold[shown], dataset.pool[others]])
    names = np.array([*dataset.classes, "unlabelled"])
    role = np.array(["gold", "pool", "picked"])[np.repeat([0, 1], [len(shown), len(others)])]
    label = np.full(len(at), len(dataset.classes))
    label[: len(shown)] = dataset.label[dataset.gold[shown]].cpu().numpy()
    if state.pseudo_labels is not None:
        chosen = state.pseudo_labels.chosen[-1][others].cpu().numpy()
        own = label[len(shown) :]
        own[chosen] = state.pseudo_labels.label[-1][others].cpu().numpy()[chosen]
        role[len(shown) :][chosen] = "picked"
    values = {name: value[at] for name, value in dataset.values.items()}
    vectors = fused_vectors(state.ensemble, values, dataset.present[at])
    rows = at.cpu().numpy()
    trackers.points(
        "fused",
        vectors.cpu().numpy(),
        {"label": names[label], "role": role, "id": dataset.ids[rows],
         "group": dataset.group[rows]},
    )  # fmt: skip
    for part, few, of in (("gold", len(shown), gold), ("pool", len(others), pool)):
        if words := drawn_of(few, of, f"{part} row"):
            trackers.text(f"fused/{part}_rows", words)
