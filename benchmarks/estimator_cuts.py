"""What the parts of `SelfTrainingEstimator` cost and earn on tables of real features.

    python benchmarks/estimator_cuts.py emodb.npz:speech:3 mosi.npz:text digits cancer

A table is an .npz with `label`, a group column (--group, the first that is there) and the named
views, joined by + (`meld.npz:text+context`), each (N, D) or (N, L, D) with a layer's number; or a
table of scikit-learn. A third of the groups is held out, some rows of the others keep their labels;
macro-F1 on the held-out groups in mean over the draws, CPU seconds of `fit`, and the difference
from the default with its standard error over draws.

  default     the estimator as it is: one student, with the floor
  compared    three students through all rounds first, as recipe auto of `semi train` does
  no floor    its own labels-only start whatever logistic regression says
  theirs      StandardScaler and SelfTrainingClassifier(LogisticRegression), .9, ten iterations
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from sklearn.metrics import f1_score

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from semi.estimator import SelfTrainingEstimator
from semi.self_training.model_selection import select_model
from semi.self_training.rounds import run_rounds

ROUNDS = "semi.estimator.run_rounds"


def table(word: str, group: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns features (N, D), labels and groups (N,) of a table named on the command line."""
    if word in ("digits", "cancer"):
        from sklearn import datasets

        bunch: Any = {"digits": datasets.load_digits, "cancer": datasets.load_breast_cancer}[word]()
        return bunch.data.astype(np.float32), bunch.target, np.arange(len(bunch.target))
    path, views, *layer = word.split(":")
    file = np.load(path)
    parts = [file[name][:, int(layer[0])] if layer else file[name] for name in views.split("+")]
    column = next(name for name in group if name in file.files)
    return np.concatenate(parts, 1).astype(np.float32), file["label"], file[column]


def theirs():
    """Returns scikit-learn's estimator."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.semi_supervised import SelfTrainingClassifier

    model = SelfTrainingClassifier(LogisticRegression(max_iter=1000), threshold=0.9, max_iter=10)
    return make_pipeline(StandardScaler(), model)


def compared(dataset, config):
    """Returns the rounds of the student that gold prefers."""
    return run_rounds(dataset, select_model(dataset, config).config)


def without_floor(dataset, config):
    """Returns the rounds from the student's own start."""
    return run_rounds(dataset, replace(config, rounds=replace(config.rounds, floor=False)))


ARMS = {"default": run_rounds, "compared": compared, "no floor": without_floor, "theirs": None}


def score(arm: str, seed: int, x, y, groups, train, test) -> tuple[float, float]:
    """Returns macro-F1 in % on the test rows and CPU seconds of the fit."""
    model = theirs() if ARMS[arm] is None else SelfTrainingEstimator(random_state=seed)
    words = {} if ARMS[arm] is None else {"groups": groups[train]}
    begun = time.process_time()
    with mock.patch(ROUNDS, ARMS[arm]):
        model.fit(x[train], y[0][train], **words)
    cost = time.process_time() - begun
    return 100 * float(f1_score(y[1][test], model.predict(x[test]), average="macro")), cost


def line(name: str, budget: float, x, label, groups, args: argparse.Namespace) -> None:
    """Prints the means of one table at one budget."""
    code = np.unique(label, return_inverse=True)[1]
    found: dict[str, list[tuple[float, float]]] = {arm: [] for arm in ARMS}
    for seed in range(args.draws):
        rng = np.random.default_rng(100 + seed)
        names = rng.permutation(np.unique(groups))
        test = np.isin(groups, names[: max(1, len(names) // 3)])
        train = rng.permutation(np.flatnonzero(~test))[: args.rows]
        count = int(budget) if budget > 1 else round(budget * len(train))
        known = np.full(len(code), -1)
        some = rng.permutation(train)[:count]
        known[some] = code[some]
        for arm in ARMS:
            found[arm].append(score(arm, seed, x, (known, code), groups, train, test))
    words = []
    for arm, pairs in found.items():
        gain = [a[0] - b[0] for a, b in zip(pairs, found["default"], strict=True)]
        error = statistics.stdev(gain) / len(gain) ** 0.5
        mean, cost = (statistics.mean(p[i] for p in pairs) for i in (0, 1))
        words.append(f"{arm} {mean:.1f} ({statistics.mean(gain):+.1f} SE {error:.1f}), "
                     f"{cost:.2f} s")  # fmt: skip
    print(f"{name} {budget:g}: " + "; ".join(words), flush=True)


def main() -> None:
    """Parses the command line and prints a line of each table and budget."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", nargs="+")
    parser.add_argument("--group", nargs="+", default=["dialogue", "speaker"])
    parser.add_argument("--budgets", type=float, nargs="+", default=[100, 0.3])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--rows", type=int, default=4000, help="of training, at most")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for word in args.tables:
        name = word if ":" not in word else f"{Path(word.split(':')[0]).stem}:{word.split(':')[1]}"
        for budget in args.budgets:
            line(name, budget, *table(word, args.group), args)


if __name__ == "__main__":
    main()
