"""Recipe auto against its floor and tuned logistic regression, on label draws of one's choice.

    python benchmarks/floors.py FOLDER [--draws 5] [--budgets 20 50 100 0.1] [--corpora emodb ...]
        [--ceiling] [--csv FILE]

FOLDER holds emodb.npz, emodb_goemotions.npz, etts.npz, mosi.npz, urdu.npz and meld.npz (see
benchmarks/corpora.yaml). Three outer folds over groups. For each corpus and budget: macro-F1 on
test rows of scikit-learn's logistic regression on all columns (its strength and class weights
chosen out-of-fold), of the floor that a run begins with, and of what ships; out-of-fold gains
beside those on test; and how often what shipped is below the floor on test. With --ceiling also
the best of several models on all labels, and the share of the way from logistic regression to it.
The student is the linear one (model.kind=discriminant): that of the default keeps its contrastive
steps only where gold asks. --csv FILE keeps every problem.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import statistics
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from models.fusion import FusionConfig
from semi.config.learning import LearningConfig
from semi.config.recipes import resolved
from semi.evaluation.metrics import score
from semi.experiments.benchmark.arms import Starts
from semi.experiments.benchmark.config import DatasetConfig
from semi.experiments.benchmark.corpus import load_corpus
from semi.experiments.benchmark.data import dataset_of, outer, outer_splits
from semi.experiments.benchmark.oracle import oracle_arm
from semi.self_training.model_selection import select_model
from semi.self_training.record import shipped_prediction
from semi.self_training.rounds import run_rounds
from semi.self_training.view_selection import candidates, select_views
from semi.training.dataset import Dataset
from semi.training.out_of_fold import surprise_at
from semi.training.views import viewed

LAYERS = [f"speech.{k}" for k in range(1, 7)]
CORPORA: dict[str, dict] = {
    "emodb": {"views": LAYERS},
    "emodb_goemotions": {"views": [*LAYERS, "text"]},
    "etts": {"views": [*LAYERS, "text"]},
    "etts_speech": {"features": "etts", "views": LAYERS},
    "mosi": {"views": ["speech", "text", "video"]},
    "urdu": {"views": LAYERS, "standardize": "auto"},
    "meld": {"views": ["text", "context"], "standardize": "global", "group": "dialogue"},
}
STRENGTHS = (0.0003, 0.003, 0.03)


def macro_f1(probs: np.ndarray, label: np.ndarray, classes: list[str]) -> float:
    """Returns macro-F1 in percent."""
    return 100 * score(probs, label, classes).macro_f1


def logistic(dataset: Dataset) -> float:
    """Returns the test macro-F1 of logistic regression, chosen as the floor's models are."""
    x = torch.cat(list(dataset.values.values()), 1).numpy()
    label, classes = dataset.label.numpy(), dataset.classes
    gold, test, fold = (t.numpy() for t in (dataset.gold, dataset.test, dataset.fold))

    def answers(model: LogisticRegression, train: np.ndarray, rows: np.ndarray) -> np.ndarray:
        probs = np.full((len(rows), len(classes)), 1e-6)
        model.fit(x[train], label[train])
        probs[:, model.classes_] = model.predict_proba(x[rows])
        return probs / probs.sum(1, keepdims=True)

    best = (-np.inf, 0.0)
    for strength in STRENGTHS:
        for weight in (None, "balanced"):
            model = LogisticRegression(C=strength, max_iter=200, class_weight=weight)
            inside = np.full((len(gold), len(classes)), 1 / len(classes))
            for k in range(dataset.folds):
                if len(np.unique(label[gold[fold != k]])) > 1:
                    inside[fold == k] = answers(model, gold[fold != k], gold[fold == k])
            loss = surprise_at(torch.from_numpy(inside).log(), dataset.target[dataset.gold]).mean()
            stands = macro_f1(inside, label[gold], classes) / 100 - 0.5 * float(loss)
            best = max(best, (stands, macro_f1(answers(model, gold, test), label[test], classes)))
    return best[1]


def problem(dataset: Dataset) -> dict[str, float]:
    """Returns the figures of one problem."""
    label = dataset.label.numpy()
    found = {"logistic": logistic(dataset)}
    begun = time.process_time()
    config = LearningConfig(recipe="auto", model=FusionConfig(kind="discriminant"))
    config = resolved(config, len(dataset.gold), len(dataset.pool))[0]
    views = select_views(dataset, config)
    seen = views.dataset
    outcome = run_rounds(seen, select_model(seen, views.config).config)
    for name, state in (("floor", outcome.states[0]), ("auto", outcome.final)):
        answer = shipped_prediction(seen, state, seen.test)
        assert answer is not None
        found[name] = macro_f1(answer.probs.numpy(), label[seen.test], seen.classes)
        found[f"oof_{name}"] = macro_f1(state.outputs.oof.numpy(), label[seen.gold], seen.classes)
    return found | {"shipped": outcome.final.number, "cpu": time.process_time() - begun}


def ceiling(dataset: Dataset) -> float:
    """Returns the test macro-F1 with all labels: of views and students the best out-of-fold."""
    linear = LearningConfig(model=FusionConfig(kind="discriminant"))
    found = []
    for views in candidates(dataset):
        arm = oracle_arm(viewed(dataset, views), linear, Starts())
        label = dataset.label[dataset.test].numpy()
        answer = np.eye(len(dataset.classes))[arm.predicted]
        found.append((arm.facts["oof_final"], macro_f1(answer, label, dataset.classes)))
    return max(found)[1]


def way(mean: dict[str, float]) -> float:
    """Returns the share (percent) of the way from logistic regression to the best on all labels."""
    return 100 * (mean["auto"] - mean["logistic"]) / (mean["all"] - mean["logistic"])


def problems(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yields the figures of every problem asked for."""
    for name in args.corpora:
        words = {"features": name} | CORPORA[name]
        words["features"] = str(args.folder / f"{words['features']}.npz")
        about = DatasetConfig(pca=None, **words)
        corpus = load_corpus(name, about)
        for part, test in enumerate(outer_splits(corpus, 3)):
            split, all_labels = outer(corpus, test, part), {}
            if args.ceiling:
                whole = dataset_of(corpus, split, None, draw=0, folds=5, seed=0)
                assert whole is not None
                all_labels = {"all": ceiling(whole)}
            for budget, draw in itertools.product(args.budgets, args.draws):
                data = dataset_of(corpus, split, budget, draw=draw, folds=5, seed=0)
                if data is not None:
                    about_it = {"corpus": name, "budget": budget, "draw": draw, "fold": part}
                    yield about_it | problem(data) | all_labels


def append_rows(path: Path, fields: list[str], rows: list[dict[str, Any]]) -> None:
    """Adds rows to a CSV, with a header where it begins."""
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, fields)
        if not file.tell():
            writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Runs every problem and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--draws", type=int, nargs="+", default=[5])
    parser.add_argument("--budgets", type=float, nargs="+", default=[20, 50, 100, 0.1])
    parser.add_argument("--corpora", nargs="+", default=list(CORPORA))
    parser.add_argument("--ceiling", action="store_true")
    parser.add_argument("--csv", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # scikit-learn's: no convergence within max_iter
    rows: dict[tuple[str, float], list[dict[str, Any]]] = defaultdict(list)
    for found in problems(args):
        rows[found["corpus"], found["budget"]].append(found)
        if args.csv:
            append_rows(args.csv, list(found), [found])
    print(
        "corpus             labels  logistic  floor   auto  gain on test / out-of-fold  CPU s",
        end="",
    )
    print("   all  way" if args.ceiling else "")
    for (name, budget), found in rows.items():
        mean = {key: statistics.mean(f[key] for f in found) for key in found[0] if key != "corpus"}
        print(
            f"{name:18} {budget:6g} {mean['logistic']:9.1f} {mean['floor']:6.1f} "
            f"{mean['auto']:6.1f} {mean['auto'] - mean['floor']:+12.1f} / "
            f"{mean['oof_auto'] - mean['oof_floor']:+.1f} {mean['cpu']:14.1f}",
            end="",
        )
        print(f" {mean['all']:7.1f} {way(mean):4.0f} %" if args.ceiling else "")
    every = [f for found in rows.values() for f in found]
    shipped = [f["auto"] - f["floor"] for f in every if f["shipped"]]
    below = [gain for gain in shipped if gain < 0]
    means = {key: statistics.mean(f[key] for f in every) for key in ("logistic", "floor", "auto")}
    print(
        f"{len(every)} problems, mean: "
        + ", ".join(f"{k} {v:.1f}" for k, v in means.items())
        + f"; a round shipped in {len(shipped)}, {len(below)} of them below the floor on test"
        + (f" by {-statistics.mean(below):.1f} in mean" if below else "")
    )


if __name__ == "__main__":
    main()
