"""Do 95 % intervals hold the truth in 95 % of cases? Real answers, speakers drawn again and again.

usage: python benchmarks/interval_coverage.py FOLDER [--repeats 1000] [--groups 2,3,5,8,20]
                                              [--what scores,differences]

FOLDER holds feature files (npz: label, speaker or dialogue, views) named as in CORPORA of
`coverage_answers.py`; those that are missing are left out. All groups of a corpus are the
population, and its score is the truth. `repeats` times G groups are drawn with replacement and the
interval is computed from them alone; printed is how often it held the truth, and its mean width in
points. All methods see the same draws in the same process:

percentile   percentile bootstrap over groups, a class that a resample lacks counts 0
student      Student's quantile of G - 1 degrees of freedom times the jackknife's standard error,
             for scores on the log-odds scale
semi         semi.evaluation.intervals

Scores are of a model with all labels; differences are those of a self-trained model to its warm
start with a few labels, on the same rows. Macro-F1 and UAR of the population are over the classes
that the groups drawn have: of the others nobody can know from them. The last column is the share of
draws that show no spread at all: answers without an error, or two models that never differ.
Corpora marked * were not looked at when the method was chosen.
"""

from __future__ import annotations

import argparse
import platform
from pathlib import Path

import numpy as np
import scipy
import sklearn
from coverage_answers import CORPORA, Answers, Corpus, answers_of, drawn, two_answers_of
from scipy.special import stdtrit

from semi.evaluation.intervals import Interval, intervals, metrics_from_confusion
from semi.evaluation.multitask import affect_sums, of_sums

METRICS = ("accuracy", "macro_f1", "uar", "waf")
RESAMPLES = 1000
ASKED = 0.9 * 95  # coverage below which a line is counted as short


def tables_of(answers: Answers, rows: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Returns the counts (G, C, C) of gold and answer in every group of rows."""
    count = int(answers.truth.max()) + 1
    tables = np.zeros((int(number.max()) + 1, count, count))
    np.add.at(tables, (number, answers.truth[rows], answers.said[rows]), 1)
    return tables


def percentile(tables: list[np.ndarray], rng: np.random.Generator) -> dict:
    """Returns the percentile bootstrap of a score, or of a difference of two: the baseline."""
    groups = len(tables[0])
    times = rng.multinomial(groups, np.full(groups, 1 / groups), size=RESAMPLES)
    found = [metrics_from_confusion(np.tensordot(times, t, 1)) for t in tables]
    both = found[0] if len(found) == 1 else {m: found[0][m] - found[1][m] for m in METRICS}
    return {m: tuple(np.percentile(both[m], [2.5, 97.5])) for m in METRICS}


def of_population(whole: np.ndarray, has: np.ndarray) -> dict[str, float]:
    """Returns the metrics of all counts (C, C), the means over classes over those that `has`."""
    right, found = whole.diagonal(), metrics_from_confusion(whole)
    f1 = 2 * right / np.maximum(whole.sum(0) + whole.sum(1), 1)
    over_classes = {"macro_f1": f1, "uar": right / whole.sum(1)}
    return {m: float(v) for m, v in found.items()} | {
        m: float(v[has].sum() / len(has)) for m, v in over_classes.items()
    }


def class_draw(models: list[Answers], groups: int, rng: np.random.Generator) -> list[tuple]:
    """Returns (metric, truth, percentile ends, interval, bounds) of one draw.

    With two models it is the difference of the first to the second.
    """
    rows, number = drawn(models[0], groups, rng)
    tables = [tables_of(m, rows, number) for m in models]
    has = tables[0].sum((0, 2)) > 0
    every = np.arange(len(models[0].truth))
    wholes = [tables_of(m, every, np.zeros(len(every), dtype=int))[0] for m in models]
    truth = [of_population(whole, has) for whole in wholes]
    base = percentile(tables, rng)
    count = tables[0].shape[1]
    said = [np.eye(count)[m.said[rows]] for m in models]
    ours = intervals(said, models[0].truth[rows], number)
    top = {"macro_f1": has.mean(), "uar": has.mean()}
    return [
        (
            m,
            truth[0][m] - (truth[1][m] if len(truth) > 1 else 0.0),
            base[m],
            ours[m],
            (0.0, top.get(m, 1.0)),
        )
        for m in METRICS
    ]


def value_draw(models: list[Answers], groups: int, rng: np.random.Generator) -> list[tuple]:
    """Returns (metric, truth, percentile ends, interval, bounds) of one draw of values."""
    answers = models[0]
    rows, number = drawn(answers, groups, rng)
    sums = affect_sums(answers.said[rows, None], answers.truth[rows, None])
    of_group = np.zeros((groups, sums.table.shape[1]))
    np.add.at(of_group, number, sums.table)
    times = rng.multinomial(groups, np.full(groups, 1 / groups), size=RESAMPLES)
    base = tuple(np.percentile(sums.read(times @ of_group)["ccc"], [2.5, 97.5]))
    every = affect_sums(answers.said[:, None], answers.truth[:, None])
    population = float(every.read(every.table.sum(0)[None])["ccc"][0])
    return [("ccc", population, base, of_sums(sums, None, number)["ccc"], (-1.0, 1.0))]


def student(ours: Interval, groups: int, bounds: tuple[float, float]) -> tuple[float, float]:
    """Returns Student's interval, unmoderated; of a score on the log-odds scale."""
    quantile = stdtrit(groups - 1, 0.975)
    if ours.p_value is not None:
        return ours.value - quantile * ours.se, ours.value + quantile * ours.se
    least, width = bounds[0], bounds[1] - bounds[0]
    share = (ours.value - least) / width
    if not 0 < share < 1 or not ours.se > 0:
        return ours.value, ours.value
    middle = np.log(share / (1 - share))
    reach = quantile * ours.se / width / (share * (1 - share))
    low, high = (least + width / (1 + np.exp(-x)) for x in (middle - reach, middle + reach))
    return float(low), float(high)


def coverage(models: list[Answers], groups: int, repeats: int, draw) -> dict[str, np.ndarray]:
    """Returns per metric how often each method held the truth, its width, and no spread, in %."""
    rng = np.random.default_rng(groups)
    found: dict[str, list[list[float]]] = {}
    for _ in range(repeats):
        for metric, truth, base, ours, bounds in draw(models, groups, rng):
            every = (base, student(ours, groups, bounds), (ours.low, ours.high))
            inside = [float(low - 1e-9 <= truth <= high + 1e-9) for low, high in every]
            widths = [high - low for low, high in every]
            flat = ours.se == 0 and (ours.p_value is not None or ours.value in bounds)
            found.setdefault(metric, []).append([*inside, *widths, float(flat)])
    return {metric: 100 * np.mean(outcomes, 0) for metric, outcomes in found.items()}


def show(corpus: Corpus, models: list[Answers], groups: list[int], repeats: int) -> list[float]:
    """Prints a corpus' table and returns the coverages of semi's interval."""
    star = " *" if corpus.confirms else ""
    what = ": self-trained minus warm start" if len(models) > 1 else ""
    sizes = f"{len(models[0].truth)} rows, {len(models[0].rows_of)} groups"
    print(f"\n{corpus.title}{what}: {sizes}{star}")
    print(f"{'':16} {'coverage':>22} {'mean width':>32}")
    print("metric    groups" + 2 * " percentile    student       semi" + "  no spread")
    held = []
    for count in groups:
        lines = coverage(models, count, repeats, value_draw if corpus.value else class_draw)
        for metric, numbers in lines.items():
            print(f"{metric:<9} {count:>6}" + "".join(f"{x:>11.1f}" for x in numbers), flush=True)
            held.append(float(numbers[2]))
    return held


def print_versions() -> None:
    """Prints what the answers and the intervals were computed with."""
    print(
        f"Python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}, "
        f"scikit-learn {sklearn.__version__}"
    )


def main() -> None:
    """Prints the table of every corpus."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--groups", default="2,3,5,8,20")
    parser.add_argument("--what", default="scores,differences")
    args = parser.parse_args()
    groups = [int(g) for g in args.groups.split(",")]
    print(f"coverage of 95 % intervals in %, {args.repeats} draws of groups each; widths in points")
    print_versions()
    for what in args.what.split(","):
        held = []
        for corpus in CORPORA:
            if corpus.value and what == "differences":
                continue
            if not (args.folder / f"{corpus.name}.npz").is_file():
                print(f"\n{corpus.title}: no {corpus.name}.npz in the folder, left out")
                continue
            if what == "scores":
                models = [answers_of(corpus, args.folder)]
            else:
                models = list(reversed(two_answers_of(corpus, args.folder)))
            held += show(corpus, models, groups, args.repeats)
        if not held:
            continue
        short = sum(x < ASKED for x in held)
        print(f"\n{what}: {len(held)} cells, {short} below {ASKED} %, the lowest {min(held):.1f} %")


if __name__ == "__main__":
    main()
