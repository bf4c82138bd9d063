"""What to label next: the score after each batch of labels, by acquisition rule.

    python benchmarks/labelling.py FOLDER CELLS.csv [--rules random margin ...] [--seeds 0 1 2]
        [--folds 1] [--corpora emodb ...] [--step 20] [--most 200] [--quick]

FOLDER holds the corpora's .npz files (see benchmarks/floors.py). Every cell is a corpus, a seed, an
outer fold over speakers and a rule: it begins with 3 labels a class, the same for every rule, and
trains recipe auto (the linear student, as benchmarks/floors.py) after every batch of labels that
the rule asks for, up to 200. Kept is macro-F1 on the speakers held out, which nothing looks at.
next:RULE is a batch as semi next hands it out, a fifth of it at random; RULE/2 is the rule alone
with at most twice a speaker's fair share of a batch, RULE without any limit. Rules named sa_... are
scikit-activeml's own strategies, where it is installed; those that ask a classifier ask logistic
regression on the same features. Finished cells stand in CELLS.csv, and a command that is started
again goes on there. benchmarks/labelling_table.py makes table and plot of it. --quick trains a
fixed view, scaled over all rows, without comparing any, to try rules with.
"""

from __future__ import annotations

import argparse
import csv
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from floors import CORPORA, append_rows, macro_f1

from models.fusion import FusionConfig
from semi.config.learning import LearningConfig
from semi.config.recipes import resolved
from semi.data.folds import assign_folds
from semi.experiments.benchmark.config import DatasetConfig
from semi.experiments.benchmark.corpus import BenchCorpus, load_corpus
from semi.experiments.benchmark.data import Outer, dataset_of, outer, outer_splits
from semi.review.acquisition import RULES, pick
from semi.review.batch_choice import chosen_rows
from semi.review.pool_of_run import candidates_of, every_row
from semi.self_training.model_selection import SharedStart, select_model
from semi.self_training.pool import joined_features
from semi.self_training.record import shipped_prediction
from semi.self_training.rounds import Outcome, run_rounds
from semi.self_training.standardize_selection import choose_speaker
from semi.self_training.state import RoundState
from semi.self_training.view_selection import candidates, heard_as, linear_trial, select_views
from semi.training.dataset import Dataset
from semi.training.views import viewed

FIELDS = ["corpus", "seed", "fold", "rule", "labels", "macro_f1", "cpu"]
ASKED = ["emodb", "emodb_goemotions", "etts_speech", "mosi", "urdu"]
FIRST = 3  # labels of each class that every rule begins with


@dataclass
class Learned:
    """What recipe auto came to on some labels."""

    dataset: Dataset  # with the views that it chose
    state: RoundState  # the round that ships
    macro_f1: float  # on test rows, in percent


def with_gold(corpus: BenchCorpus, split: Outer, gold: np.ndarray, seed: int) -> Dataset:
    """Returns the dataset of an outer split in which the rows `gold` (n,) are labelled."""
    dataset = dataset_of(corpus, split, 20, draw=0, folds=5, seed=seed)
    assert dataset is not None
    gold = np.sort(gold)
    target = torch.zeros_like(dataset.target)
    target[gold, corpus.label[gold]] = 1.0
    dataset = replace(
        dataset,
        values=split.values,
        target=target,
        gold=torch.from_numpy(gold),
        pool=torch.from_numpy(np.setdiff1d(split.train, gold)),
        fold=torch.from_numpy(assign_folds(corpus.rows.at(gold), 5, seed, "group")[0]),
    )
    if split.per_speaker is not None:
        other = replace(dataset, values=split.per_speaker)
        dataset = other if choose_speaker(dataset, other, seed) else dataset
    return dataset


@dataclass
class Axes:
    """Keeps the axes of each view: whatever is labelled, the same rows teach them."""

    known: dict[tuple, dict[str, torch.Tensor] | None]

    def live(self, dataset: Dataset, config: LearningConfig) -> Outcome:
        """Returns the rounds of a student, with the axes that an earlier one found on these values.

        All datasets must have the same rows in gold and pool together.
        """
        sums = [(name, float(x.double().sum())) for name, x in dataset.values.items()]
        key = (config.model.components, config.contrast.axes, len(dataset.pool) + len(dataset.gold),
               *sums)  # fmt: skip
        recorder = SharedStart(self.known.get(key))
        outcome = run_rounds(dataset, config, recorder=recorder)
        self.known[key] = recorder.learned
        return outcome


def learn(dataset: Dataset, quick: bool, axes: Axes | None = None) -> Learned:
    """Returns what recipe auto comes to; `quick` compares nothing and looks at the middle view."""
    live = (axes or Axes({})).live
    config = LearningConfig(recipe="auto", model=FusionConfig(kind="discriminant"))
    config = resolved(config, len(dataset.gold), len(dataset.pool))[0]
    if quick:
        views = next((v for v in candidates(dataset) if "3" in str(v)), candidates(dataset)[0])
        config = heard_as(linear_trial(config), views)
        config = replace(config, rounds=replace(config.rounds, max_rounds=3))
        dataset = viewed(dataset, views)
        state = live(dataset, config).final
    else:
        views = select_views(dataset, config, live)
        dataset = views.dataset
        state = live(dataset, select_model(dataset, views.config, live).config).final
    answer = shipped_prediction(dataset, state, dataset.test)
    assert answer is not None
    label = dataset.label[dataset.test].numpy()
    return Learned(dataset, state, macro_f1(answer.probs.numpy(), label, dataset.classes))


def ours(learned: Learned, rule: str, count: int, seed: int) -> np.ndarray:
    """Returns the dataset rows (count,) that a rule of ours asks about."""
    dataset, state = learned.dataset, learned.state
    answers = shipped_prediction(dataset, state, dataset.pool)
    assert answers is not None
    asked = every_row(dataset)
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


def theirs(learned: Learned, rule: str, count: int, seed: int) -> np.ndarray:
    """Returns the dataset rows (count,) that a strategy of scikit-activeml asks about."""
    from skactiveml import pool  # pyright: ignore[reportMissingImports]
    from skactiveml.classifier import (  # pyright: ignore[reportMissingImports]
        SklearnClassifier,
    )
    from sklearn.linear_model import LogisticRegression

    dataset = learned.dataset
    x = joined_features(dataset)
    rows = torch.cat([dataset.gold, dataset.pool])
    y = torch.full((len(rows),), torch.nan)
    y[: len(dataset.gold)] = dataset.label[dataset.gold].float()
    x, y = x[rows].double().numpy(), y.double().numpy()
    classes = list(range(len(dataset.classes)))
    about: dict[str, Any] = {"random_state": seed}
    asked: dict[str, Any] = {}
    if rule == "sa_margin":
        about["method"] = "margin_sampling"
    name = STRATEGIES[rule]
    if rule in ASKING:
        about["missing_label"] = np.nan
        logistic = LogisticRegression(C=1.0, max_iter=300)
        asked["clf"] = SklearnClassifier(logistic, classes=classes, random_state=seed)
    strategy = getattr(pool, name)(**about)
    return rows[strategy.query(X=x, y=y, batch_size=count, **asked)].numpy()


STRATEGIES = {
    "sa_random": "RandomSampling",
    "sa_margin": "UncertaintySampling",
    "sa_badge": "Badge",
    "sa_core_set": "CoreSet",
    "sa_typiclust": "TypiClust",
    "sa_probcover": "ProbCover",
    "sa_falcun": "Falcun",
    "sa_dropquery": "DropQuery",
    "sa_clue": "Clue",
    "sa_maxherding": "MaxHerding",
}
ASKING = ("sa_margin", "sa_badge", "sa_falcun", "sa_dropquery", "sa_clue")


def first_labels(corpus: BenchCorpus, split: Outer, seed: int) -> np.ndarray:
    """Returns FIRST rows of each class, the same for every rule."""
    draw = np.random.default_rng([seed, split.fold])
    rows = draw.permutation(split.train[corpus.label[split.train] >= 0])
    kinds = range(len(corpus.classes))
    return np.concatenate([rows[corpus.label[rows] == c][:FIRST] for c in kinds])


def lived(
    corpus: BenchCorpus, split: Outer, rule: str, seed: int, args: argparse.Namespace, axes: Axes
) -> list[dict[str, Any]]:
    """Returns the rows of one cell: the score after each batch of labels."""
    gold, rows = first_labels(corpus, split, seed), []
    unlabelled = split.train[corpus.label[split.train] < 0]
    split = replace(split, train=np.setdiff1d(split.train, unlabelled))  # all can be asked about
    if args.quick:
        split = replace(split, per_speaker=None)
    ask: Callable = theirs if rule in STRATEGIES else ours
    while True:
        begun = time.process_time()
        learned = learn(with_gold(corpus, split, gold, seed), args.quick, axes)
        left = min(args.most - len(gold), len(learned.dataset.pool) - 1)
        count = left if left < 1.5 * args.step else args.step  # no last batch of two rows
        rows.append({
            "corpus": corpus.name, "seed": seed, "fold": split.fold, "rule": rule,
            "labels": len(gold), "macro_f1": round(learned.macro_f1, 3),
        })  # fmt: skip
        if count > 0:
            gold = np.concatenate([gold, ask(learned, rule, count, seed * 1000 + len(gold))])
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
    parser.add_argument("--rules", nargs="+", default=[*RULES, *STRATEGIES])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument(
        "--folds", type=int, default=1, help="outer folds of three, from the seed on"
    )
    parser.add_argument("--corpora", nargs="+", default=ASKED)
    parser.add_argument("--step", type=int, default=20)
    parser.add_argument("--most", type=int, default=200)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
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
