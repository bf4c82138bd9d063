"""One round of self-training beside scikit-learn's; `--grid` calls benchmarks/grid.py.

    python benchmarks/selftraining.py [--scale 0.1] [--dims 6912 1024] [--components 50]
    python benchmarks/selftraining.py --kind contrastive [--pca 256]
    python benchmarks/selftraining.py --grid [--steps-timed 40] [--pca 256]

5,030 labelled and 10,000 unlabelled rows of made-up features (correlated, as those of encoders are;
right for speed, without meaning for quality). CPU seconds of the process, all threads, one after
the other in one run, each after a small round that pays for imports; the least of --repeats. A line
of each width for

  round      theirs: StandardScaler, SelfTrainingClassifier(LogisticRegression), one iteration (two
             fits) and the prediction of the pool, uncalibrated. Ours: Standardizer, components,
             warm start of folds + 1 chains, calibration on out-of-fold rows, selection, students,
             the gate and the calibrated prediction of the pool, with the linear student of recipe
             auto (or, with --kind contrastive, a stepped model). Ours standardises in place; theirs
             would be slower so.
  further    each round after that: theirs is a second iteration's fit
  floor      the round as recipe auto begins it: nine plain linear models of six chains compete
  recipe     all of recipe auto's round, whose student takes contrastive steps
  estimator  `fit` of make_pipeline(StandardScaler(), SelfTrainingClassifier(...)) and of
             SelfTrainingEstimator, with the floor; the table stays as it is
  defaults   the same at the numbers of rounds that both have by default, 10 and 8 at most
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from models.fusion import ContrastConfig, FusionConfig
from semi.config.learning import LearningConfig
from semi.config.recipes import resolved
from semi.config.training import RoundsConfig, TrainConfig
from semi.features.config import FeaturesConfig
from semi.features.standardize import Standardizer
from semi.features.tensors import Features
from semi.self_training.pool_answers import pool_answers
from semi.self_training.rounds import run_rounds
from semi.training.dataset import Dataset

Line = tuple[str, tuple[float, float, Any], tuple[float, float, Any]]  # name, theirs, ours
CLASSES = 6
LABELED, POOL = 5030, 10_000  # MER2024-SEMI: all labelled rows; a pool of twice as many


def made_up(rows: int, dims: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Returns (rows, dims) float32 features with a falling spectrum, and hard-to-tell classes."""
    rng = np.random.default_rng(seed)
    label = rng.integers(CLASSES, size=rows)
    rank = min(256, dims)
    power = 1 / np.sqrt(1 + np.arange(rank))
    hidden = (
        rng.normal(size=(CLASSES, rank))[label] * 0.25 + rng.normal(size=(rows, rank))
    ) * power
    x = hidden @ rng.normal(size=(rank, dims)) + 0.3 * rng.normal(size=(rows, dims))
    return x.astype(np.float32), label


def now() -> tuple[float, float]:
    """Returns the CPU second of the process and the wall second."""
    return time.process_time(), time.perf_counter()


def spent(run, repeats: int, given=lambda: None) -> tuple[float, float, Any]:
    """Returns the least CPU seconds of some calls, their wall seconds, and the last result.

    What `given` returns is made anew for each call and not counted.
    """
    costs, result = [], None
    for _ in range(repeats):
        words = given()
        cpu, wall = now()
        result = run() if words is None else run(words)
        end = now()
        costs.append((end[0] - cpu, end[1] - wall))
    return *min(costs), result


def sklearn_model(max_iter: int, rounds: int = 1):
    """Returns scikit-learn's self-training of at most so many iterations."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.semi_supervised import SelfTrainingClassifier

    base = LogisticRegression(max_iter=max_iter)
    return SelfTrainingClassifier(base, threshold=0.9, max_iter=rounds)


def sklearn_round(
    x: np.ndarray, label: np.ndarray, labeled: int, max_iter: int, rounds: int = 1
) -> np.ndarray:
    """Returns scikit-learn's predictions after one iteration, or more."""
    from sklearn.preprocessing import StandardScaler

    x = StandardScaler().fit_transform(x)
    model = sklearn_model(max_iter, rounds).fit(x, hidden(label, labeled))
    return model.predict(x[labeled:])


def hidden(label: np.ndarray, labeled: int) -> np.ndarray:
    """Returns the labels with -1 in place of those of the pool."""
    return np.where(np.arange(len(label)) < labeled, label, -1)


def our_round(
    x: np.ndarray, label: np.ndarray, labeled: int, config: LearningConfig, pca: int = 0,
    ends: list[tuple[float, float]] | None = None,
):  # fmt: skip
    """Returns the pool's classes after the warm start and gated rounds; x is written over.

    CPU and wall second at which each round ended are added to `ends`.
    """
    rows = len(x)
    features = Features({"x": torch.from_numpy(x)}, torch.ones(rows, 1, dtype=torch.bool))
    settings = FeaturesConfig(pca=pca or None)
    every = torch.ones(rows, dtype=torch.bool)
    scaling = Standardizer.fit(features, every, settings)
    values = scaling.apply(features, in_place=True).values
    index = torch.arange(rows)
    known = torch.from_numpy(label)
    target = torch.zeros(rows, CLASSES)
    target[:labeled] = torch.nn.functional.one_hot(known[:labeled], CLASSES).float()
    dataset = Dataset(
        ids=index.numpy().astype(str),
        values=values,
        present=features.present,
        target=target,
        label=known,
        gold=index[:labeled],
        pool=index[labeled:],
        dev=index[:0],
        test=index[:0],
        fold=index[:labeled] % config.train.folds,
        group=(index.numpy() // 10).astype(str),
        classes=[str(c) for c in range(CLASSES)],
    )
    at = [] if ends is None else ends
    outcome = run_rounds(dataset, config, on_round=lambda state: at.append(now()))
    return pool_answers(dataset, outcome.final).numpy()


def settings_of(
    args: argparse.Namespace, labeled: int, pool: int, kind: str = "", floor: bool = False,
    rounds: int = 1,
) -> LearningConfig:  # fmt: skip
    """Returns the settings of rounds, components as the recipe has them unless given.

    `kind` is of the student; left out it is that of recipe auto, or with --kind contrastive that.
    """
    model = FusionConfig(hidden=args.hidden)
    model = replace(model, kind=kind) if kind else model
    learning = LearningConfig(
        recipe="auto" if args.kind == "discriminant" else "none",
        model=replace(model, components=args.components) if args.components else model,
        contrast=ContrastConfig(weight=0.0, weight_end=0.0, pretrain_steps=0),
        train=TrainConfig(folds=args.folds, members=args.members, steps=args.steps),
        rounds=RoundsConfig(max_rounds=rounds),
    )
    found = resolved(learning, labeled, pool)[0]
    return replace(found, rounds=replace(found.rounds, floor=floor))


def round_line(
    x: np.ndarray, label: np.ndarray, labeled: int, args: argparse.Namespace
) -> Iterator[Line]:
    """Yields what theirs and ours cost, and what they say of the pool."""
    pool = len(x) - labeled
    kind = "discriminant" if args.kind == "discriminant" else ""
    theirs = spent(lambda: sklearn_round(x, label, labeled, args.max_iter), args.repeats)

    def ours(config: LearningConfig) -> tuple[float, float, Any]:
        return spent(lambda own: our_round(own, label, labeled, config, args.pca), args.repeats,
                     x.copy)  # fmt: skip

    yield "round", theirs, ours(settings_of(args, labeled, pool, kind))
    if kind:
        longer = spent(lambda: sklearn_round(x, label, labeled, args.max_iter, 2), args.repeats)
        more = (longer[0] - theirs[0], longer[1] - theirs[1], longer[2])
        yield "further", more, further_round(x, label, labeled, args)
        yield "floor", theirs, ours(settings_of(args, labeled, pool, kind, floor=True))
        yield "recipe", theirs, ours(settings_of(args, labeled, pool, floor=True))


def further_round(x, label, labeled: int, args: argparse.Namespace) -> tuple[float, float, Any]:
    """Returns the cost of our second round, and what it says of the pool."""
    config = settings_of(args, labeled, len(x) - labeled, "discriminant", rounds=2)
    costs, said = [], None
    for _ in range(args.repeats):
        ends: list[tuple[float, float]] = []
        said = our_round(x.copy(), label, labeled, config, args.pca, ends)
        costs.append(tuple(after - before for before, after in zip(*ends[1:3], strict=True)))
    return *min(costs), said


def estimator_line(
    x: np.ndarray, label: np.ndarray, labeled: int, args: argparse.Namespace
) -> Iterator[Line]:
    """Yields what it costs to fit both estimators, and what they say of the pool."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from semi.estimator import SelfTrainingEstimator

    words: dict[str, Any] = {"folds": args.folds, "random_state": 0}
    words |= {"components": args.components} if args.components else {}
    y = hidden(label, labeled)
    for name, many, few in (("estimator", 1, 1), ("defaults", 10, 8)):
        models = (
            make_pipeline(StandardScaler(), sklearn_model(args.max_iter, many)),
            SelfTrainingEstimator(max_rounds=few, **words),
        )
        cpu = [spent(lambda: model.fit(x, y), args.repeats) for model in models]  # noqa: B023
        theirs, ours = ((*c[:2], c[2].predict(x[labeled:])) for c in cpu)
        yield name, theirs, ours


def round_table(args: argparse.Namespace) -> None:
    """Prints the lines of each width."""
    labeled, pool = round(LABELED * args.scale), round(POOL * args.scale)
    components = settings_of(args, labeled, pool).model.components
    print(
        f"{labeled} labelled + {pool} unlabelled; ours: {args.folds} folds + 1, "
        + (
            f"{components} components a view, closed form"
            if args.kind == "discriminant"
            else f"members {args.members}, {args.steps} steps, hidden {args.hidden}, components "
            f"{args.pca or 'all'}"
        )
    )
    print(
        "dims                scikit-learn CPU s (wall)   ours CPU s (wall)   ratio   "
        "pool accuracy theirs ours"
    )
    lines = [round_line] + ([estimator_line] if args.kind == "discriminant" else [])
    warnings.simplefilter("ignore")  # logistic regression that has not converged
    for line in lines:
        list(line(*made_up(600, 64), 300, args))
    for dims in args.dims:
        x, label = made_up(labeled + pool, dims)
        for line in lines:
            for name, theirs, ours in line(x, label, labeled, args):
                right = [100 * float((s[2] == label[labeled:]).mean()) for s in (theirs, ours)]
                print(
                    f"{dims:5d} {name:10s}   {theirs[0]:14.2f} ({theirs[1]:.2f})   "
                    f"{ours[0]:14.2f} ({ours[1]:.2f})   {theirs[0] / ours[0]:5.1f}   "
                    f"{right[0]:.1f} {right[1]:.1f}",
                    flush=True,
                )


def main() -> None:
    """Parses the command line and prints the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", type=float, default=1.0, help="share of the rows")
    parser.add_argument("--repeats", type=int, default=3, help="of which the least counts")
    parser.add_argument("--dims", type=int, nargs="+", default=[6912, 1024])
    parser.add_argument("--max-iter", type=int, default=1000, help="of LogisticRegression")
    parser.add_argument("--pca", type=int, default=0, help="components of ours; 0 = all columns")
    parser.add_argument("--kind", default="discriminant", choices=("discriminant", "contrastive"))
    parser.add_argument(
        "--components", type=int, help="of the discriminant; left out = as recipe auto has them"
    )
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--members", type=int, default=1)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32, help="of the grid")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--grid", action="store_true", help="the challenge's grid instead")
    parser.add_argument("--steps-timed", type=int, default=40, help="of the grid")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    print(
        f"{platform.machine()}, torch {torch.__version__}, numpy {np.__version__}, scikit-learn "
        f"{sklearn.__version__}, threads {args.threads}, OMP_NUM_THREADS {threads}"
    )
    if args.grid:
        from grid import grid_table

        grid_table(
            hidden=args.hidden, batch=args.batch, pca=args.pca or 256, timed=args.steps_timed
        )
    else:
        round_table(args)


if __name__ == "__main__":
    main()
