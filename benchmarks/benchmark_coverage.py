"""Do the intervals of `semi benchmark` hold the truth in 95 % of cases? Speakers and runs drawn.

usage: python benchmarks/benchmark_coverage.py FOLDER [--repeats 200] [--groups 2,3,5,8,20]
                                               [--runs 5,15]

What a benchmark asks is another question than what a run asks of its own answers: by how much an
arm is better in the mean over speakers and over label draws, neither of which it has all of. Here
RUNS label draws of a self-trained model and of its warm start (`coverage_answers.py`, class corpora
but MELD) answer every utterance out-of-fold. All groups and all label draws are the population, the
mean gain over them is the truth; G groups and R label draws are drawn with replacement, and
`semi.experiments.benchmark.significance` sees those alone. Printed is how often its interval of the
gain held the truth, its mean width in points, and how often its p was below 0.05 although the
truth lies on the other side of 0. Below five runs `semi benchmark` gives no verdict.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from coverage_answers import CORPORA, Corpus, two_answers_of
from interval_coverage import ASKED, of_population, print_versions, tables_of

from semi.experiments.benchmark.results import Arm
from semi.experiments.benchmark.significance import Resampler

METRICS = ("accuracy", "macro_f1")
RUNS = 16  # label draws of the population
RESAMPLES = 500


def population(corpus: Corpus, folder: Path) -> np.ndarray:
    """Returns counts (runs, arms, groups, C, C); the arms are the warm start and self-training."""
    tables = []
    for seed in range(RUNS):
        pair = two_answers_of(corpus, folder, seed)
        rows = np.concatenate(pair[0].rows_of)
        number = np.repeat(np.arange(len(pair[0].rows_of)), [len(r) for r in pair[0].rows_of])
        tables.append([tables_of(arm, rows, number) for arm in pair])
    return np.array(tables)


def gains_of(tables: np.ndarray, has: np.ndarray) -> dict[str, float]:
    """Returns the true gains over the classes that `has` (C,) names, in the mean over runs."""
    found = [[of_population(arm.sum(0), has) for arm in run] for run in tables]
    return {m: float(np.mean([run[1][m] - run[0][m] for run in found])) for m in METRICS}


def coverage(tables: np.ndarray, groups: int, runs: int, repeats: int) -> dict[str, np.ndarray]:
    """Returns per metric how often the gain's interval held the truth, its width, false p, in %."""
    rng = np.random.default_rng([groups, runs])
    found: dict[str, list[list[float]]] = {m: [] for m in METRICS}
    for _ in range(repeats):
        chosen = rng.integers(len(tables), size=runs)
        drawn = tables[chosen][:, :, rng.integers(tables.shape[2], size=groups)]
        truth = gains_of(tables, drawn[0, 0].sum((0, 2)) > 0)
        keys = [(r, 0) for r in range(runs)]
        arms = [Arm({key: drawn[key[0], arm] for key in keys}) for arm in (0, 1)]
        sampler = Resampler(str(rng.integers(2**31)), groups, keys, RESAMPLES)
        for metric in METRICS:
            start, final = (sampler.measure(arm, metric, keys) for arm in arms)
            gain = final - start
            low, high = gain.interval()
            held = low - 1e-9 <= truth[metric] <= high + 1e-9
            wrong = gain.p_value() < 0.05 and gain.value * truth[metric] <= 0
            found[metric].append([float(held), high - low, float(wrong)])
    return {metric: 100 * np.mean(outcomes, 0) for metric, outcomes in found.items()}


def main() -> None:
    """Prints the table of every corpus."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--groups", default="2,3,5,8,20")
    parser.add_argument("--runs", default="5,15")
    args = parser.parse_args()
    print(f"coverage of the gain's 95 % interval in %, {args.repeats} draws of groups and of runs")
    print_versions()
    held = []
    for corpus in CORPORA:
        if corpus.value or corpus.name == "meld":
            continue
        if not (args.folder / f"{corpus.name}.npz").is_file():
            print(f"\n{corpus.title}: no {corpus.name}.npz in the folder, left out")
            continue
        tables = population(corpus, args.folder)
        print(f"\n{corpus.title}: {tables.shape[2]} groups\n")
        print("metric    groups  runs   coverage      width    wrong p")
        for groups in map(int, args.groups.split(",")):
            for runs in map(int, args.runs.split(",")):
                for metric, numbers in coverage(tables, groups, runs, args.repeats).items():
                    cells = "".join(f"{x:>11.1f}" for x in numbers)
                    print(f"{metric:<9} {groups:>6} {runs:>5}{cells}", flush=True)
                    held.append(float(numbers[0]))
    if held:
        short = sum(x < ASKED for x in held)
        print(f"\n{len(held)} cells, {short} below {ASKED} %, the lowest {min(held):.1f} %")


if __name__ == "__main__":
    main()
