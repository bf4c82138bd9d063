"""Recipe auto for valence and arousal, several labels a row, and both tasks at once.

    python benchmarks/affect.py FOLDER [--tasks affect multi_label joint] [--draws 5 6 7]
        [--budgets 20 50 100 0.1] [--corpora emodb ...] [--rounds 8] [--old]

FOLDER holds emodb.npz, emodb_goemotions.npz, mosi.npz, urdu.npz and meld.npz (see
benchmarks/corpora.yaml). None holds ratings of valence and arousal, so these are STAND-INS, to
compare methods by and nothing else:

    emodb       valence: of the acted emotion, on the circumplex; arousal: mean loudness and pitch
                (eGeMAPS, z-scored), which the speech embeddings do not contain as such
    others      both: of the emotion; mosi: sentiment (-1, 1), meld: sentiment (-1, 0, 1) as valence

Coordinates: Russell and Mehrabian 1977, https://doi.org/10.1016/0092-6566(77)90037-X, neutral 0.
Several labels a row: meld's emotion and sentiment; else whether the emotion is positive, negative
or neither, and aroused or calm.

Three outer folds over groups. On test, in percent: CCC (affect), macro-F1 and mean average
precision (several labels), macro-F1 and CCC (joint) of scikit-learn's RidgeCV or a logistic
regression of each label (strength and class weights chosen out-of-fold) on all columns; of what the
recipe begins with, without rounds; of what it ships. For affect and several labels it has no
rounds unless --rounds asks for some. --old adds the contrastive model from scratch, by steps.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import average_precision_score

from semi.config.learning import LearningConfig
from semi.config.recipes import resolved, suited
from semi.config.task import TaskConfig
from semi.evaluation.metrics import score
from semi.evaluation.multitask import affect_measured, multi_measured
from semi.experiments.benchmark.config import DatasetConfig
from semi.experiments.benchmark.corpus import BenchCorpus, load_corpus
from semi.experiments.benchmark.data import dataset_of, outer, outer_splits
from semi.self_training.model_selection import select_model
from semi.self_training.record import shipped_prediction
from semi.self_training.rounds import run_rounds
from semi.self_training.state import RoundState
from semi.self_training.view_selection import select_views
from semi.training.dataset import Dataset
from semi.training.views import Views, viewed

LAYERS = [f"speech.{k}" for k in range(1, 7)]
CORPORA: dict[str, dict] = {
    "emodb": {"views": LAYERS},
    "emodb_goemotions": {"views": [*LAYERS, "text"]},
    "urdu": {"views": LAYERS, "standardize": "auto"},
    "mosi": {"views": ["speech", "text", "video"]},
    "meld": {"views": ["text", "context"], "standardize": "global", "group": "dialogue"},
}
CIRCUMPLEX = {
    "anger": (-0.51, 0.59), "angry": (-0.51, 0.59), "boredom": (-0.65, -0.62),
    "disgust": (-0.60, 0.35), "fear": (-0.64, 0.60), "happiness": (0.81, 0.51),
    "happy": (0.81, 0.51), "joy": (0.81, 0.51), "neutral": (0.0, 0.0), "sad": (-0.63, -0.27),
    "sadness": (-0.63, -0.27), "surprise": (0.40, 0.67),
}  # fmt: skip
SENTIMENT = {"negative": -1.0, "neutral": 0.0, "positive": 1.0}
LOUDNESS, PITCH = 10, 0  # columns of eGeMAPSv02: mean loudness, mean F0 in semitones
PENALTIES = np.logspace(0, 6, 13)
STRENGTHS = (0.0003, 0.003, 0.03)
TASKS = {"affect": list(CORPORA), "multi_label": ["emodb", "emodb_goemotions", "urdu", "meld"],
         "joint": ["emodb", "emodb_goemotions", "urdu", "meld"]}  # fmt: skip


def truths(name: str, folder: Path, corpus: BenchCorpus) -> tuple[np.ndarray, list[set[str]]]:
    """Returns valence and arousal (N, 2), NaN = unknown, and the labels of each row."""
    with np.load(folder / f"{name}.npz") as file:
        arrays = {k: file[k] for k in file.files if k in ("id", "label", "sentiment", "egemaps")}
    place = {word: i for i, word in enumerate(arrays["id"].astype(str))}
    at = np.array([place[word] for word in corpus.ids])
    label = [str(word).lower() for word in arrays["label"][at]]
    if name == "mosi":
        value = np.array([[2.0 * int(word) - 1, np.nan] for word in label])
        return value, []
    feeling = np.array([CIRCUMPLEX[word] for word in label])
    sets = [
        {
            "negative" if v < 0 else "positive" if v > 0 else "neither",
            "aroused" if a > 0 else "calm",
        }
        for v, a in feeling
    ]
    if name == "emodb":
        sound = arrays["egemaps"][at][:, [LOUDNESS, PITCH]]
        feeling[:, 1] = ((sound - sound.mean(0)) / sound.std(0)).mean(1)
    if name == "meld":
        mood = [str(word) for word in arrays["sentiment"][at]]
        sets = [{a, f"sentiment {b}"} for a, b in zip(label, mood, strict=True)]
        feeling = np.array([[SENTIMENT[word], np.nan] for word in mood])
    return feeling, sets


def of_task(dataset: Dataset, kind: str, value: np.ndarray, sets: list[set[str]]) -> Dataset:
    """Returns the dataset with the truths of a task."""
    if kind != "multi_label":
        return replace(dataset, affect=torch.from_numpy(value.astype(np.float32)))
    classes = sorted(set.union(*sets))
    several = torch.tensor([[float(c in row) for c in classes] for row in sets])
    target = torch.zeros_like(several)
    target[dataset.gold] = several[dataset.gold]
    return replace(dataset, classes=classes, target=target, multi=several)


def scored(dataset: Dataset, kind: str, probs: np.ndarray, affect: np.ndarray | None) -> dict:
    """Returns the scores of test rows in percent, from (T, C) and (T, 2)."""
    rows = dataset.test.numpy()
    found = {}
    if kind == "multi_label" and dataset.multi is not None:
        truth = dataset.multi.numpy()[rows]
        found["macro_f1"] = multi_measured(probs, truth, None, dataset.classes)["macro_f1"]
        seen = truth.any(0)
        found["map"] = average_precision_score(truth[:, seen], probs[:, seen], average="macro")
    if kind == "joint":
        found["macro_f1"] = score(probs, dataset.label.numpy()[rows], dataset.classes).macro_f1
    if affect is not None and dataset.affect is not None:
        truth = dataset.affect.numpy()[rows]
        found["ccc"] = affect_measured(affect, truth, dataset.group[rows])["ccc"]
    return {k: 100 * float(v) for k, v in found.items()}


def ridge(dataset: Dataset, x: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns what scikit-learn's ridge regression on values (N, 2) says of test rows (T, 2)."""
    gold, test = dataset.gold.numpy(), dataset.test.numpy()
    answer = np.full((len(test), 2), np.nan)
    for i, truth in enumerate(values[gold].T):
        known = ~np.isnan(truth)
        if known.any():
            answer[:, i] = RidgeCV(PENALTIES).fit(x[gold[known]], truth[known]).predict(x[test])
    return answer


def logistic(dataset: Dataset, x: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Returns what a logistic regression of each label (N, C) says of test rows (T, C).

    Strength and class weights are those of the best macro-F1 out-of-fold.
    """
    gold, test, fold = (t.numpy() for t in (dataset.gold, dataset.test, dataset.fold))

    def answers(strength: float, weight: str | None, train: np.ndarray, rows: np.ndarray):
        probs = np.zeros((len(rows), truth.shape[1]))
        for c, yes in enumerate(truth[train].T):
            if yes.min() == yes.max():
                probs[:, c] = yes[0]
                continue
            model = LogisticRegression(C=strength, max_iter=200, class_weight=weight)
            probs[:, c] = model.fit(x[train], yes).predict_proba(x[rows])[:, 1]
        return probs

    best = (-1.0, 0.0, None)
    for strength in STRENGTHS:
        for weight in (None, "balanced"):
            inside = np.zeros((len(gold), truth.shape[1]))
            for k in range(dataset.folds):
                inside[fold == k] = answers(strength, weight, gold[fold != k], gold[fold == k])
            value = multi_measured(inside, truth[gold], None, dataset.classes)["macro_f1"]
            best = max(best, (value, strength, weight), key=lambda b: b[0])
    return answers(best[1], best[2], gold, test)


def baseline(dataset: Dataset, kind: str) -> dict[str, float]:
    """Returns the scores of scikit-learn's models on all columns."""
    x = torch.cat(list(dataset.values.values()), 1).numpy()
    affect = None if dataset.affect is None else ridge(dataset, x, dataset.affect.numpy())
    probs = np.zeros((len(dataset.test), len(dataset.classes)))
    if kind != "affect":
        truth = dataset.multi
        if truth is None:
            truth = torch.nn.functional.one_hot(dataset.label.clamp(min=0), len(dataset.classes))
        probs = logistic(dataset, x, truth.numpy())
    return scored(dataset, kind, probs, affect)


def shipped_scores(dataset: Dataset, kind: str, state: RoundState) -> dict[str, float]:
    """Returns the scores of a round's models, as they would ship."""
    alone = kind == "affect"  # as distill.final, which the recipe sets, has it
    answer = shipped_prediction(dataset, replace(state, alone=alone), dataset.test)
    assert answer is not None
    affect = None if answer.affect is None else answer.affect.numpy()
    return scored(dataset, kind, answer.probs.numpy(), affect)


def problem(dataset: Dataset, kind: str, old: bool, given: LearningConfig) -> dict[str, dict]:
    """Returns arm -> scores of one problem."""
    found = {"sklearn": baseline(dataset, kind)}
    begun = time.process_time()
    config = resolved(given, len(dataset.gold), len(dataset.pool))[0]
    views = select_views(dataset, config)
    seen = views.dataset
    outcome = run_rounds(seen, select_model(seen, views.config).config)
    start = outcome.states[0]
    for arm, state in (("start", start), ("auto", outcome.final)):
        found[arm] = shipped_scores(seen, kind, state)
    found["facts"] = {
        "cpu": time.process_time() - begun, "shipped": outcome.final.number,
        "oof_start": 100 * start.metric, "oof_auto": 100 * outcome.final.metric,
    }  # fmt: skip
    if old:
        begun = time.process_time()
        middle = [name for name in dataset.values if name in LAYERS[1:4]]
        others = {name: [name] for name in dataset.values if name not in LAYERS}
        seen = viewed(dataset, Views(({"speech": middle} if middle else {}) | others))
        # checked as a recipe of the task would have it, but for the model and its steps
        config = replace(suited(given), recipe="none")
        found["old"] = shipped_scores(seen, kind, run_rounds(seen, config).final)
        found["facts"]["cpu_old"] = time.process_time() - begun
    return found


def problems(args: argparse.Namespace, kind: str, name: str, budget: float) -> list[dict]:
    """Returns the figures of all outer folds and draws of one cell."""
    about = DatasetConfig(features=str(args.folder / f"{name}.npz"), pca=None, **CORPORA[name])
    corpus = load_corpus(name, about)
    value, sets = truths(name, args.folder, corpus)
    found, given = [], LearningConfig(task=TaskConfig(kind=kind))
    if args.rounds is not None:
        rounds = replace(given.rounds, max_rounds=args.rounds)
        given = replace(given, rounds=rounds, given=["rounds.max_rounds"])
    for part, test in enumerate(outer_splits(corpus, 3)):
        split = outer(corpus, test, part)
        for draw in args.draws:
            data = dataset_of(corpus, split, budget, draw=draw, folds=5, seed=0)
            if data is not None:
                found.append(problem(of_task(data, kind, value, sets), kind, args.old, given))
    return found


def row(kind: str, name: str, budget: float, found: list[dict]) -> str:
    """Returns one line of the table."""
    cells = [f"{kind:11} {name:17} {budget:6g}"]
    for metric in found[0]["auto"]:
        arms = [arm for arm in ("old", "sklearn", "start", "auto") if arm in found[0]]
        means = [f"{statistics.mean(f[arm][metric] for f in found):5.1f}" for arm in arms]
        cells.append(f"{metric}: " + " ".join(f"{a} {m}" for a, m in zip(arms, means, strict=True)))
    for word in [word for word in ("cpu", "cpu_old") if word in found[0]["facts"]]:
        cells.append(f"{word} {statistics.mean(f['facts'][word] for f in found):.1f} s")
    return "  ".join(cells)


def summary(kind: str, found: list[dict]) -> str:
    """Returns means over all problems of a task, and how often what ships is below others."""
    lines = [f"{kind}: {len(found)} problems"]
    for metric in found[0]["auto"]:
        means = {
            a: statistics.mean(f[a][metric] for f in found) for a in ("sklearn", "start", "auto")
        }
        text = ", ".join(f"{arm} {value:.1f}" for arm, value in means.items())
        for rival in ("sklearn", "start"):
            gaps = [f["auto"][metric] - f[rival][metric] for f in found]
            below = [gap for gap in gaps if gap < -1e-9]
            loss = f" by {-statistics.mean(below):.1f} in mean" if below else ""
            text += f"; auto below {rival} in {len(below)}{loss}"
        lines.append(f"  {metric} on test, mean: {text}")
    shipped = [f for f in found if f["facts"]["shipped"]]
    worst = min(f["facts"]["oof_auto"] - f["facts"]["oof_start"] for f in found)
    lines.append(
        f"  a round shipped in {len(shipped)}; what shipped less what it began with, out-of-fold, "
        f"at worst {worst:+.1f}"
    )
    return "\n".join(lines)


def main() -> None:
    """Runs every problem and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--draws", type=int, nargs="+", default=[5, 6, 7])
    parser.add_argument("--budgets", type=float, nargs="+", default=[20, 50, 100, 0.1])
    parser.add_argument("--corpora", nargs="+", default=list(CORPORA), choices=list(CORPORA))
    parser.add_argument("--rounds", type=int, help="in place of the recipe's number")
    parser.add_argument("--old", action="store_true", help="the default of before, too (slow)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # scikit-learn's: no convergence within max_iter
    for kind in args.tasks:
        every = defaultdict(list)
        for name in [name for name in TASKS[kind] if name in args.corpora]:
            for budget in args.budgets:
                if found := problems(args, kind, name, budget):
                    every[kind] += found
                    print(row(kind, name, budget, found), flush=True)
        if every[kind]:
            print(summary(kind, every[kind]), flush=True)


if __name__ == "__main__":
    main()
