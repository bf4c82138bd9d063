"""Does select.precision_target keep its word? Many label draws, realised against promised.

usage: python benchmarks/guarantee.py FILE.npz [FILE.npz ...] [--draws 60] [--first 0]
           [--target 0.8] [--budgets 100,200,500] [--bound search] [--rate 1.0] [--rounds 3]
           [--half]

Every draw labels other rows of the corpus at random; all others are the pool, their labels hidden.
The model is that of recipe auto, the rule class_topk (--rate 1.0: only the bound limits it) under
the precision target. After the selection the hidden labels say how right each certified class is.
kept: share of the draws with a promise in which EVERY certified class has at least the target,
counted over the warm start's selection and every later round's; the promise is 95 % (alpha .05).
With --half the labelled rows come from half of the speakers and the pool is of the others: then
nothing is promised, and the number tells how far the promise carries to new voices.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch

from pseudo_label.pool import NEVER
from semi.config.learning import LearningConfig
from semi.config.loading import resolve
from semi.config.recipes import resolved
from semi.experiments.benchmark.config import DatasetConfig
from semi.experiments.benchmark.corpus import BenchCorpus, load_corpus
from semi.experiments.benchmark.data import dataset_of, outer
from semi.self_training.rounds import run_rounds
from semi.self_training.state import PseudoLabels
from semi.training.dataset import Dataset

LEAST = 5  # rows that a budget must leave in the pool, for each class


@dataclass
class Kept:
    """What was promised and what came of it, of one selection."""

    classes: int  # certified classes of which rows were taken
    rows: int
    right: float  # share of the rows that carry their true label
    broken: int  # certified classes below the target
    worst: float  # lowest precision of a certified class


def measured(dataset: Dataset, pseudo_labels: PseudoLabels, target: float) -> Kept:
    """Returns how right the last chain's certified classes are."""
    chosen, label = pseudo_labels.chosen[-1], pseudo_labels.label[-1]
    hidden = dataset.label[dataset.pool]
    checked = chosen & (hidden >= 0)
    precision = []
    for c in range(len(dataset.classes)):
        of_class = checked & (label == c)
        if float(pseudo_labels.threshold[c]) < NEVER and of_class.any():
            precision.append(float((hidden[of_class] == c).float().mean()))
    right = float((hidden[checked] == label[checked]).float().mean()) if checked.any() else 1.0
    broken = sum(p < target for p in precision)
    return Kept(len(precision), int(checked.sum()), right, broken, min(precision, default=1.0))


def draw_problem(corpus: BenchCorpus, budget: int, seed: int, half: bool) -> Dataset | None:
    """Returns a draw: all rows train; with `half` the pool is of speakers without a label."""
    split = replace(outer(corpus, np.zeros(0, dtype=np.int64), 0), test=np.zeros(0, dtype=np.int64))
    if not half:
        dataset = dataset_of(corpus, split, budget, draw=seed, folds=5, seed=seed)
    else:
        rng = np.random.default_rng(seed)
        groups = rng.permutation(np.unique(corpus.group))
        near = np.isin(corpus.group, groups[: len(groups) // 2])
        dataset = dataset_of(
            corpus, replace(split, train=np.flatnonzero(near)), budget, draw=seed, folds=5,
            seed=seed,
        )  # fmt: skip
        if dataset is not None:
            dataset = replace(dataset, pool=torch.from_numpy(np.flatnonzero(~near)))
    if dataset is None or len(dataset.pool) < LEAST * len(dataset.classes):
        return None
    return dataset


def settings(args: argparse.Namespace, seed: int, gold: int, pool: int) -> LearningConfig:
    """Returns recipe auto's model with class_topk under a precision target."""
    overrides = [
        "recipe=auto", "select.rule=class_topk", f"select.precision_target={args.target}",
        f"select.bound={args.bound}", f"select.coverage=[{args.rate}]", f"seed={seed}",
        f"rounds.max_rounds={args.rounds}", "rounds.min_change=0.02",
    ]  # fmt: skip
    config = resolved(resolve(LearningConfig, None, overrides).value, gold, pool)[0]
    config.select.rule, config.rounds.max_rounds = "class_topk", args.rounds  # the usual ones too
    return config


@dataclass
class Tally:
    """What became of the promises of one corpus and budget."""

    pool: int = 0  # rows
    promised: int = 0  # draws with a promise
    kept: int = 0  # draws that kept every promise
    selections: list[Kept] = field(default_factory=list)

    def row(self, name: str, budget: int, draws: int) -> str:
        """Returns the line of the table."""
        selections = self.selections
        line = f"{name:18s} {budget:4d} {self.pool:5d} "
        line += f"{self.promised:6d}/{draws:<4d} {len(selections):10d} "
        if selections:
            every = sum(t.classes for t in selections)
            line += f"{every / len(selections):9.1f} "
            line += f"{np.mean([t.rows for t in selections]):5.0f} "
            line += f"{100 * np.mean([t.right for t in selections]):5.1f}% "
            line += f"{100 * min(t.worst for t in selections):5.1f}% "
            line += f"{100 * (1 - sum(t.broken for t in selections) / every):11.1f}% "
            line += f"{100 * self.kept / self.promised:4.0f}%"
        return line


def tally(args: argparse.Namespace, corpus: BenchCorpus, budget: int) -> Tally | None:
    """Returns the promises of all draws of one budget; None where the corpus is too small."""
    done = Tally()
    for seed in range(args.first, args.first + args.draws):
        dataset = draw_problem(corpus, budget, seed, args.half)
        if dataset is None:
            return None
        done.pool = len(dataset.pool)
        config = settings(args, seed, len(dataset.gold), done.pool)
        states = run_rounds(dataset, config).states[1:]
        labelled = [s.pseudo_labels for s in states if s.pseudo_labels]
        counts = [measured(dataset, labels, args.target) for labels in labelled]
        counts = [t for t in counts if t.classes]
        if counts:
            done.promised += 1
            done.kept += all(t.broken == 0 for t in counts)
            done.selections += counts
    return done


def arguments() -> argparse.Namespace:
    """Returns the arguments of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("features", nargs="+")
    parser.add_argument("--draws", type=int, default=60)
    parser.add_argument("--first", type=int, default=0, help="number of the first draw")
    parser.add_argument("--target", type=float, default=0.8)
    parser.add_argument("--budgets", default="100,200,500")
    parser.add_argument("--bound", default="search")
    parser.add_argument("--rate", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--half", action="store_true")
    return parser.parse_args()


def main() -> None:
    """Prints a line for each corpus and budget."""
    args = arguments()
    torch.set_num_threads(1)
    where = "pool of speakers without a label" if args.half else "pool of all speakers"
    print(f"target {args.target:g}, bound {args.bound}, rate {args.rate:g}, draws {args.first} to "
          f"{args.first + args.draws - 1}, {where}")  # fmt: skip
    print(f"{'corpus':18s} {'gold':>4s} {'pool':>5s} {'promised in':>11s} {'selections':>10s} "
          f"{'classes':>9s} {'rows':>5s} {'right':>6s} {'worst':>6s} {'classes kept':>12s} "
          f"{'kept':>5s}")  # fmt: skip
    kept, promised = 0, 0
    for path in args.features:
        corpus = load_corpus(Path(path).stem, DatasetConfig(features=path))
        for budget in map(int, args.budgets.split(",")):
            done = tally(args, corpus, budget)
            if done is not None:
                kept, promised = kept + done.kept, promised + done.promised
                print(done.row(corpus.name, budget, args.draws), flush=True)
    if promised:
        print(f"every promise of a draw kept: {kept} of {promised} draws with a "
              f"promise, {100 * kept / promised:.1f} %")  # fmt: skip


if __name__ == "__main__":
    main()
