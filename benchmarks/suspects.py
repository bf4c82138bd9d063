"""Labels that look wrong: how many of those found were wrong, and what correcting them brings.

    python benchmarks/suspects.py FOLDER CELLS.csv [--corpora emodb ...] [--seeds 0 1 2 3 4]

FOLDER holds the corpora's .npz files (see benchmarks/floors.py). Of 200 labelled rows (fewer where
the corpus has fewer) of the training speakers 5, 10 or 20 % get a wrong label: any other class
(uniform), the class that a model of the right labels takes them for (confusion), or all of them
from as few speakers as hold them (careless), any other class. Recipe auto learns from them, with
the linear student. Kept are, by rule, the precision among as many suspects as there are errors, and
the area under the ROC curve over all labelled rows; and macro-F1 on the speakers held out with the
wrong labels, after the suspects of the default rule were corrected, after as many random rows were,
and with all labels right. Finished cells stand in CELLS.csv; benchmarks/suspects_table.py makes the
table of it.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from floors import CORPORA, append_rows
from labelled_learner import Axes, Learned, learn, with_gold
from sklearn.metrics import roc_auc_score

from semi.experiments.benchmark.config import DatasetConfig
from semi.experiments.benchmark.corpus import BenchCorpus, load_corpus
from semi.experiments.benchmark.data import Outer, outer, outer_splits
from semi.review.label_errors import LABEL_ERROR_RULES
from semi.review.suspects import SUSPECTS_RULE

GOLD, RATES, KINDS = 200, (0.05, 0.1, 0.2), ("uniform", "confusion", "careless")
SCORES = ("noisy", "corrected", "random", "clean")
FIELDS = ["corpus", "seed", "fold", "kind", "rate", "errors",
          *(f"{what}_{rule}" for rule in LABEL_ERROR_RULES for what in ("precision", "auc")),
          *SCORES, "cpu"]  # fmt: skip


def out_of_fold(learned: Learned) -> np.ndarray:
    """Returns (n, C) probabilities of the gold rows by models that did not learn from them."""
    return learned.state.outputs.oof.numpy()


def wrong_rows(corpus: BenchCorpus, gold: np.ndarray, kind: str, count: int, rng) -> np.ndarray:
    """Returns `count` of the gold rows, whose labels will be wrong."""
    if kind != "careless":
        return rng.choice(gold, count, replace=False)
    speakers = rng.permutation(np.unique(corpus.group[gold]))
    rows = np.concatenate([rng.permutation(gold[corpus.group[gold] == s]) for s in speakers])
    return rows[:count]


def spoilt(
    corpus: BenchCorpus, rows: np.ndarray, kind: str, said: dict[int, np.ndarray], rng
) -> BenchCorpus:
    """Returns the corpus with wrong labels in `rows`; `said` has what a model says of each."""
    label = corpus.label.copy()
    for row in rows:
        chance = said[row].copy() if kind == "confusion" else np.ones(len(corpus.classes))
        chance[label[row]] = 0
        label[row] = rng.choice(len(chance), p=chance / chance.sum())
    return replace(corpus, label=label)


@dataclass
class Setting:
    """What all cells of a corpus and seed have in common."""

    corpus: BenchCorpus
    split: Outer
    gold: np.ndarray  # (n,) labelled rows
    seed: int
    quick: bool
    axes: Axes

    def learn(self, given: np.ndarray) -> Learned:
        """Returns what is learned from the labels `given` (N,), judged on the corpus' own."""
        dataset = with_gold(replace(self.corpus, label=given), self.split, self.gold, self.seed)
        label = self.corpus.label.copy()
        label[self.gold] = given[self.gold]
        return learn(replace(dataset, label=torch.from_numpy(label)), self.quick, self.axes)


def cells(corpus: BenchCorpus, split: Outer, seed: int, quick: bool) -> Iterator[dict[str, Any]]:
    """Yields the row of each kind and rate of errors."""
    rng = np.random.default_rng([seed, split.fold])
    labelled = rng.permutation(split.train[corpus.label[split.train] >= 0])
    gold = np.sort(labelled[: min(GOLD, round(0.8 * len(labelled)))])
    setting = Setting(corpus, split, gold, seed, quick, Axes({}))
    clean = setting.learn(corpus.label)
    answers = dict(zip(gold.tolist(), out_of_fold(clean) + 1e-6, strict=True))
    for kind, rate in itertools.product(KINDS, RATES):
        begun = time.process_time()
        rows = wrong_rows(corpus, gold, kind, round(rate * len(gold)), rng)
        noisy = spoilt(corpus, rows, kind, answers, rng).label
        cell: dict[str, Any] = {
            "corpus": corpus.name, "seed": seed, "fold": split.fold, "kind": kind, "rate": rate,
            "errors": len(rows), "clean": round(clean.macro_f1, 2),
        }  # fmt: skip
        cell |= measured(setting, noisy, rows, rng)
        yield cell | {"cpu": round(time.process_time() - begun, 2)}


def measured(setting: Setting, noisy: np.ndarray, rows: np.ndarray, rng) -> dict[str, float]:
    """Returns how well each rule finds the wrong labels of `rows`, and what correcting brings."""
    corpus, gold = setting.corpus, setting.gold
    found = setting.learn(noisy)
    wrong, probs = np.isin(gold, rows), torch.from_numpy(out_of_fold(found))
    suspects, cell = {}, {"noisy": round(found.macro_f1, 2)}
    for name, rule in LABEL_ERROR_RULES.items():
        value = rule(probs, torch.from_numpy(noisy[gold])).numpy()
        top = np.argsort(-value, kind="stable")[: len(rows)]
        suspects[name] = gold[top]
        cell[f"precision_{name}"] = round(100 * wrong[top].mean(), 2)
        cell[f"auc_{name}"] = round(100 * float(roc_auc_score(wrong, value)), 2)
    at_random = rng.choice(gold, len(rows), replace=False)
    for name, some in (("corrected", suspects[SUSPECTS_RULE]), ("random", at_random)):
        label = noisy.copy()
        label[some] = corpus.label[some]
        cell[name] = round(setting.learn(label).macro_f1, 2)
    return cell


def main() -> None:
    """Runs every cell that the table lacks."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("cells", type=Path)
    parser.add_argument("--corpora", nargs="+",
                        default=["emodb", "emodb_goemotions", "mosi", "urdu"])  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="a fixed view, to try things with")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    done = set()
    if args.cells.is_file():
        with args.cells.open(newline="") as file:
            done = {(row["corpus"], row["seed"]) for row in csv.DictReader(file)}
    for name in args.corpora:
        words = {"features": name} | CORPORA[name]
        words["features"] = str(args.folder / f"{words['features']}.npz")
        corpus = load_corpus(name, DatasetConfig(pca=None, **words))
        tests = outer_splits(corpus, 3)
        for seed in args.seeds:
            if (name, str(seed)) in done:
                continue
            fold = seed % len(tests)
            rows = list(cells(corpus, outer(corpus, tests[fold], fold), seed, args.quick))
            append_rows(args.cells, FIELDS, rows)


if __name__ == "__main__":
    main()
