"""What to label next: the score after each batch of labels, by acquisition rule.

    python benchmarks/labelling.py FOLDER CELLS.csv [--rules random margin ...] [--seeds 0 1 2]
        [--folds 1] [--corpora emodb ...] [--step 20] [--most 200] [--quick]
        [--seconds TABLE.csv]

FOLDER holds the corpora's .npz files (see benchmarks/floors.py). Every cell is a corpus, a seed, an
outer fold over speakers and a rule: it begins with 3 labels a class, the same for every rule, and
trains recipe auto (the linear student, as benchmarks/floors.py) after every batch of labels that
the rule asks for, up to 200. Kept is macro-F1 on the speakers held out, which nothing looks at.
next:RULE is a batch as semi next hands it out, a fifth of it at random; RULE/2 is the rule alone
with at most twice a speaker's fair share of a batch, RULE without any limit. Rules named sa_... are
scikit-activeml's own strategies, where it is installed; those that ask a classifier ask logistic
regression on the same features. Finished cells stand in CELLS.csv, and a command that is started
again goes on there. benchmarks/labelling_table.py makes table and plot of it. --quick trains a
fixed view, scaled over all rows, without comparing any, to try rules with. With --seconds batches
cost what they are long, as with semi next --cost seconds, and a label counts as a row of mean
length.
"""

from __future__ import annotations

import argparse
import csv
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from activeml_strategies import STRATEGIES, theirs
from floors import CORPORA, append_rows
from labelled_learner import Axes, Learned, learn, with_gold

from semi.experiments.benchmark.config import DatasetConfig
from semi.experiments.benchmark.corpus import BenchCorpus, load_corpus
from semi.experiments.benchmark.data import Outer, outer, outer_splits
from semi.review.acquisition import RULES, pick
from semi.review.batch_choice import chosen_rows
from semi.review.next_rows import NEXT_RULE
from semi.review.pool_of_run import candidates_of, every_row
from semi.self_training.record import shipped_prediction

FIELDS = ["corpus", "seed", "fold", "rule", "labels", "rows", "macro_f1", "cpu"]
ASKED = ["emodb", "emodb_goemotions", "etts_speech", "mosi", "urdu"]
FIRST = 3  # labels of each class that every rule begins with


def ours(
    learned: Learned, rule: str, count: int, seed: int, price: np.ndarray | None = None
) -> np.ndarray:
    """Returns the dataset rows (k,) that a rule of ours asks about, of `count` together.

    Args:
        learned: the models.
        rule: its name.
        count: rows, or with prices what they may cost together.
        seed: of what is drawn.
        price: (N,) of every row of the dataset; None: 1 each.
    """
    dataset, state = learned.dataset, learned.state
    answers = shipped_prediction(dataset, state, dataset.pool)
    assert answers is not None
    asked = replace(every_row(dataset), flips=learned.flips)
    if price is not None:
        asked.cost = torch.from_numpy(price)[dataset.pool].float()
    pool = candidates_of(dataset, state, answers, asked)
    if rule.startswith("next:"):
        rows = chosen_rows(pool, asked.fresh, rule[5:], count, seed=seed).rows
        return dataset.pool[rows].numpy()
    name, _, cap = rule.partition("/")
    per_group = None
    if cap:  # margin/2: at most twice a speaker's fair share
        speakers = len(torch.unique(pool.group))
        per_group = max(1, -(-int(cap) * count // speakers))
    return dataset.pool[pick(pool, name, count, per_group=per_group, seed=seed)[0]].numpy()


def first_labels(corpus: BenchCorpus, split: Outer, seed: int) -> np.ndarray:
    """Returns FIRST rows of each class, the same for every rule."""
    draw = np.random.default_rng([seed, split.fold])
    rows = draw.permutation(split.train[corpus.label[split.train] >= 0])
    kinds = range(len(corpus.classes))
    return np.concatenate([rows[corpus.label[rows] == c][:FIRST] for c in kinds])


def prices(corpus: BenchCorpus, table: Path | None) -> np.ndarray | None:
    """Returns how long each row (N,) of a corpus is, in mean lengths; None without a table."""
    if table is None:
        return None
    with table.open(newline="") as file:
        seconds = {row["id"]: float(row["seconds"]) for row in csv.DictReader(file)}
    found = np.array([seconds[name] for name in corpus.ids.tolist()])
    return found / found.mean()


def lived(
    corpus: BenchCorpus, split: Outer, rule: str, seed: int, args: argparse.Namespace, axes: Axes
) -> list[dict[str, Any]]:
    """Returns the rows of one cell: the score after each batch of labels."""
    gold, rows = first_labels(corpus, split, seed), []
    paid = len(gold)  # in rows of mean length
    unlabelled = split.train[corpus.label[split.train] < 0]
    split = replace(split, train=np.setdiff1d(split.train, unlabelled))  # all can be asked about
    if args.quick:
        split = replace(split, per_speaker=None)
    price = prices(corpus, args.seconds)
    while True:
        begun = time.process_time()
        learned = learn(with_gold(corpus, split, gold, seed), args.quick, axes)
        left = min(args.most - paid, len(learned.dataset.pool) - 1)
        count = left if left < 1.5 * args.step else args.step  # no last batch of two rows
        rows.append({
            "corpus": corpus.name, "seed": seed, "fold": split.fold, "rule": rule,
            "labels": paid, "rows": len(gold), "macro_f1": round(learned.macro_f1, 3),
        })  # fmt: skip
        if count > 0:
            own = seed * 1000 + paid
            more = (
                theirs(learned, rule, count, own)
                if rule in STRATEGIES
                else ours(learned, rule, count, own, price)
            )
            gold, paid = np.concatenate([gold, more]), paid + count
        rows[-1]["cpu"] = round(time.process_time() - begun, 2)
        if count <= 0:
            return rows


def finished(path: Path) -> set[tuple[str, ...]]:
    """Returns (corpus, seed, fold, rule) of the cells that the table holds."""
    if not path.is_file():
        return set()
    with path.open(newline="") as file:
        return {tuple(row[k] for k in FIELDS[:4]) for row in csv.DictReader(file)}


def usable(rules: list[str]) -> list[str]:
    """Returns the rules that can be run; says which cannot."""
    try:
        import skactiveml  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        lost = [rule for rule in rules if rule in STRATEGIES]
        if lost:
            print(f"scikit-activeml is not installed: {', '.join(lost)} left out")
        return [rule for rule in rules if rule not in STRATEGIES]
    return rules


def main() -> None:
    """Runs every cell that the table lacks."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("cells", type=Path)
    parser.add_argument("--rules", nargs="+", default=[*RULES, f"next:{NEXT_RULE}", *STRATEGIES])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument(
        "--folds", type=int, default=1, help="outer folds of three, from the seed on"
    )
    parser.add_argument("--corpora", nargs="+", default=ASKED)
    parser.add_argument("--step", type=int, default=20)
    parser.add_argument("--most", type=int, default=200)
    parser.add_argument("--seconds", type=Path, help="table of id and seconds: what is spent")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    if args.seconds and any(not rule.startswith("next:") for rule in args.rules):
        parser.error("--seconds is for rules next:RULE, which are handed out within a budget")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # scikit-learn's: no convergence within max_iter
    done = finished(args.cells)
    for name in args.corpora:
        axes: dict[int, Axes] = {}  # by outer fold
        words = {"features": name} | CORPORA[name]
        words["features"] = str(args.folder / f"{words['features']}.npz")
        corpus = load_corpus(name, DatasetConfig(pca=None, **words))
        tests = outer_splits(corpus, 3)
        for seed in args.seeds:
            for fold in [(seed + k) % len(tests) for k in range(min(args.folds, len(tests)))]:
                split = None
                axes.setdefault(fold, Axes({}))
                for rule in usable(args.rules):
                    if (name, str(seed), str(fold), rule) in done:
                        continue
                    split = split or outer(corpus, tests[fold], fold)
                    try:
                        rows = lived(corpus, split, rule, seed, args, axes[fold])
                    except ValueError as error:  # one modality has nothing to disagree with
                        print(f"{name}, {rule}: left out, as {error}")
                        continue
                    append_rows(args.cells, FIELDS, rows)


if __name__ == "__main__":
    main()
