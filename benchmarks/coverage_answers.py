"""Answers with the faults of real models, and speakers drawn from them again and again.

Logistic regression (ridge regression for values, nearest neighbours where a corpus says so) answers
every utterance of a feature file out-of-fold, whole groups apart: of some speakers far more answers
are wrong than of others. All groups together are a population whose score is known; a draw of G
groups with replacement is what a test side with so many speakers would have been.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

LOUDNESS = 10  # place of the mean loudness among the 88 eGeMAPS functionals
LABELLED = 0.3  # share of the training rows whose label the warm start sees
TAKEN = 0.5  # share of the others that gets pseudo-labels, most confident first


@dataclass
class Corpus:
    """Where answers come from."""

    name: str  # of the file
    view: str
    layer: int | None
    group: str
    title: str
    value: str = ""  # what is told as a number instead of the class: loudness | polarity
    neighbours: int = 0  # of a model by nearest neighbours; 0: a linear one
    confirms: bool = False  # nobody looked at it when the method was chosen


CORPORA = [
    Corpus("emodb", "speech", 3, "speaker", "Emo-DB, Whisper"),
    Corpus("emodb", "egemaps", None, "speaker", "Emo-DB, eGeMAPS"),
    Corpus("etts", "speech", 0, "speaker", "EmotionTTS, Whisper layer 0"),
    Corpus("etts", "speech", 2, "speaker", "EmotionTTS, Whisper layer 2"),
    Corpus("mosi", "text", None, "speaker", "MOSI by video, text"),
    Corpus("meld", "text", None, "dialogue", "MELD by dialogue, text"),
    Corpus("meld", "text", None, "speaker", "MELD by speaker, text"),
    Corpus("urdu", "speech", 2, "speaker", "Urdu, Whisper"),
    Corpus("emodb_goemotions", "text", None, "speaker", "Emo-DB, texts", confirms=True),
    Corpus("etts", "speech", 4, "speaker", "EmotionTTS, Whisper layer 4", confirms=True),
    Corpus("mosi", "speech", None, "speaker", "MOSI by video, sound", confirms=True),
    Corpus("urdu", "speech", 0, "speaker", "Urdu, Whisper layer 0", confirms=True),
    Corpus("urdu", "speech", 5, "speaker", "Urdu, Whisper layer 5", confirms=True),
    Corpus(
        "urdu", "speech", 8, "speaker", "Urdu, Whisper layer 8, 15 nearest neighbours",
        neighbours=15, confirms=True,
    ),
    Corpus("etts", "text", None, "speaker", "EmotionTTS, texts", confirms=True),
    Corpus("emodb", "speech", 3, "speaker", "Emo-DB, loudness", "loudness"),
    Corpus("mosi", "text", None, "speaker", "MOSI by video, polarity", "polarity"),
]  # fmt: skip


@dataclass
class Answers:
    """Out-of-fold answers of N rows."""

    truth: np.ndarray  # (N,) class numbers, or values
    said: np.ndarray  # (N,)
    rows_of: list[np.ndarray]  # rows of each group


def answers_of(corpus: Corpus, folder: Path) -> Answers:
    """Returns the out-of-fold answers of a plain model, whole groups apart."""
    x, truth, group = _rows(corpus, folder)
    said = np.zeros_like(truth)
    for train, test in GroupKFold(5).split(x, truth, group):
        said[test] = _fitted(corpus, x[train], truth[train]).predict(x[test])
    return Answers(truth, said, _rows_of(group))


def two_answers_of(corpus: Corpus, folder: Path, seed: int = 0) -> tuple[Answers, Answers]:
    """Returns the out-of-fold answers of a warm start and of what self-training made of it.

    Of the training rows of a fold a share LABELLED is labelled, at least one of every class; of the
    others the warm start labels the share TAKEN of which it is most confident, and the second model
    learns from both.
    """
    x, truth, group = _rows(corpus, folder)
    rng = np.random.default_rng(seed)
    warm, final = np.zeros_like(truth), np.zeros_like(truth)
    for train, test in GroupKFold(5).split(x, truth, group):
        shuffled = rng.permutation(train)
        first = [shuffled[truth[shuffled] == c][0] for c in np.unique(truth[train])]
        gold = np.union1d(first, shuffled[: round(LABELLED * len(train))])
        pool = np.setdiff1d(train, gold)
        start = _fitted(corpus, x[gold], truth[gold])
        confidence = start.predict_proba(x[pool]).max(1)
        taken = pool[np.argsort(-confidence, kind="stable")[: round(TAKEN * len(pool))]]
        rows = np.concatenate([gold, taken])
        label = np.concatenate([truth[gold], start.predict(x[taken])])
        warm[test] = start.predict(x[test])
        final[test] = _fitted(corpus, x[rows], label).predict(x[test])
    of = _rows_of(group)
    return Answers(truth, warm, of), Answers(truth, final, of)


def drawn(answers: Answers, groups: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows of groups drawn with replacement, and the number of the group of each."""
    rows = [answers.rows_of[g] for g in rng.integers(len(answers.rows_of), size=groups)]
    return np.concatenate(rows), np.repeat(np.arange(groups), [len(r) for r in rows])


def _rows(corpus: Corpus, folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns vectors (N, D), truths (N,) and group numbers (N,)."""
    data = np.load(folder / f"{corpus.name}.npz", allow_pickle=False)
    x = data[corpus.view] if corpus.layer is None else data[corpus.view][:, corpus.layer]
    group = np.unique(data[corpus.group], return_inverse=True)[1]
    truth = np.unique(data["label"], return_inverse=True)[1]
    if corpus.value:
        loud = corpus.value == "loudness"
        truth = data["egemaps"][:, LOUDNESS].astype(float) if loud else truth.astype(float)
    return x.astype(float), truth, group


def _rows_of(group: np.ndarray) -> list[np.ndarray]:
    return [np.flatnonzero(group == g) for g in range(group.max() + 1)]


def _fitted(corpus: Corpus, x: np.ndarray, truth: np.ndarray):
    """Returns a model that has learned from rows."""
    model = LogisticRegression(C=0.01, max_iter=300, class_weight="balanced")
    if corpus.value:
        model = Ridge(1000.0)
    elif corpus.neighbours:
        model = KNeighborsClassifier(min(corpus.neighbours, len(x)))
    return make_pipeline(StandardScaler(), model).fit(x, truth)
