"""Do 95 % intervals hold the truth in 95 % of cases? Real answers, speakers drawn again and again.

usage: python benchmarks/interval_coverage.py FOLDER [--repeats 1000] [--groups 2,3,5,8,20]

FOLDER holds feature files (npz: label, speaker or dialogue, views) named as in CORPORA; those that
are missing are left out. For each, logistic regression (ridge regression for values) answers every
utterance out-of-fold, whole groups apart: answers with the faults of a real model, of which some
speakers have far more than others. All groups together are the population, and its score is the
truth. Then `repeats` times G groups are drawn with replacement and the interval is computed from
them alone; printed is how often it held the truth, and its mean width in points. All methods see
the same draws in the same process:

percentile   percentile bootstrap over groups, a class that a resample lacks counts 0
student      Student's quantile of G - 1 degrees of freedom times the jackknife's standard error,
             on the log-odds scale
semi         semi.evaluation.intervals

Macro-F1 and UAR of the population are over the classes that the groups drawn have: of the others
nobody can know from them. "flawless" is the share of draws without any error: there no interval
can be told from the answers, all are a point.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import stdtrit
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from semi.evaluation.intervals import Interval, intervals, metrics_from_confusion
from semi.evaluation.multitask import affect_sums, of_sums

METRICS = ("accuracy", "macro_f1", "uar", "waf")
RESAMPLES = 1000
LOUDNESS = 10  # place of the mean loudness among the 88 eGeMAPS functionals


@dataclass
class Corpus:
    """Where answers come from."""

    name: str  # of the file
    view: str
    layer: int | None
    group: str
    value: str = ""  # what is told as a number instead of the class: loudness | polarity
    title: str = ""


CORPORA = [
    Corpus("emodb", "speech", 3, "speaker", title="Emo-DB, Whisper"),
    Corpus("emodb", "egemaps", None, "speaker", title="Emo-DB, eGeMAPS"),
    Corpus("etts", "speech", 0, "speaker", title="EmotionTTS, Whisper layer 0"),
    Corpus("etts", "speech", 2, "speaker", title="EmotionTTS, Whisper layer 2"),
    Corpus("mosi", "text", None, "speaker", title="MOSI by video, text"),
    Corpus("meld", "text", None, "dialogue", title="MELD by dialogue, text"),
    Corpus("meld", "text", None, "speaker", title="MELD by speaker, text"),
    Corpus("urdu", "speech", 2, "speaker", title="Urdu, Whisper"),
    Corpus("emodb", "speech", 3, "speaker", "loudness", "Emo-DB, loudness"),
    Corpus("mosi", "text", None, "speaker", "polarity", "MOSI by video, polarity"),
]


@dataclass
class Answers:
    """Out-of-fold answers of N rows."""

    truth: np.ndarray  # (N,) class numbers, or values
    said: np.ndarray  # (N,)
    rows_of: list[np.ndarray]  # rows of each group


def answers_of(corpus: Corpus, folder: Path) -> Answers:
    """Returns the out-of-fold answers of a plain model, whole groups apart."""
    data = np.load(folder / f"{corpus.name}.npz", allow_pickle=False)
    x = data[corpus.view] if corpus.layer is None else data[corpus.view][:, corpus.layer]
    group = np.unique(data[corpus.group], return_inverse=True)[1]
    truth = np.unique(data["label"], return_inverse=True)[1]
    model = LogisticRegression(C=0.01, max_iter=300, class_weight="balanced")
    if corpus.value:
        loud = corpus.value == "loudness"
        truth = data["egemaps"][:, LOUDNESS].astype(float) if loud else truth.astype(float)
        model = Ridge(1000.0)
    said = cross_val_predict(
        make_pipeline(StandardScaler(), model), x.astype(float), truth, groups=group,
        cv=GroupKFold(5),
    )  # fmt: skip
    return Answers(
        truth, np.asarray(said), [np.flatnonzero(group == g) for g in range(group.max() + 1)]
    )


def drawn(answers: Answers, groups: int, rng: np.random.Generator):
    """Returns truth, answers and group numbers of groups drawn with replacement."""
    rows = [answers.rows_of[g] for g in rng.integers(len(answers.rows_of), size=groups)]
    number = np.repeat(np.arange(groups), [len(r) for r in rows])
    return answers.truth[np.concatenate(rows)], answers.said[np.concatenate(rows)], number


def percentile(tables: np.ndarray, rng: np.random.Generator) -> dict[str, tuple[float, float]]:
    """Returns the percentile bootstrap of (G, C, C) tables of counts: the baseline."""
    times = rng.multinomial(len(tables), np.full(len(tables), 1 / len(tables)), size=RESAMPLES)
    found = metrics_from_confusion(np.tensordot(times, tables, 1))
    return {m: tuple(np.percentile(found[m], [2.5, 97.5])) for m in METRICS}


def class_draw(answers: Answers, groups: int, rng: np.random.Generator) -> list[tuple]:
    """Returns (metric, truth, percentile ends, interval, bounds) of one draw."""
    count = int(answers.truth.max()) + 1
    truth, said, number = drawn(answers, groups, rng)
    tables = np.zeros((groups, count, count))
    np.add.at(tables, (number, truth, said), 1)
    whole = np.zeros((count, count))
    np.add.at(whole, (answers.truth, answers.said), 1)
    has = tables.sum((0, 2)) > 0
    right = whole.diagonal()
    population = {m: float(v) for m, v in metrics_from_confusion(whole).items()}
    f1 = 2 * right / (whole.sum(0) + whole.sum(1))
    population["macro_f1"] = float(f1[has].sum() / count)
    population["uar"] = float((right / whole.sum(1))[has].sum() / count)
    base, ours = percentile(tables, rng), intervals([np.eye(count)[said]], truth, number)
    bounds = {"macro_f1": (0.0, has.mean()), "uar": (0.0, has.mean())}
    return [(m, population[m], base[m], ours[m], bounds.get(m, (0.0, 1.0))) for m in METRICS]


def value_draw(answers: Answers, groups: int, rng: np.random.Generator) -> list[tuple]:
    """Returns (metric, truth, percentile ends, interval, bounds) of one draw of values."""
    truth, said, number = drawn(answers, groups, rng)
    sums = affect_sums(said[:, None], truth[:, None])
    of_group = np.zeros((groups, sums.table.shape[1]))
    np.add.at(of_group, number, sums.table)
    times = rng.multinomial(groups, np.full(groups, 1 / groups), size=RESAMPLES)
    base = tuple(np.percentile(sums.read(times @ of_group)["ccc"], [2.5, 97.5]))
    every = affect_sums(answers.said[:, None], answers.truth[:, None])
    population = float(every.read(every.table.sum(0)[None])["ccc"][0])
    return [("ccc", population, base, of_sums(sums, None, number)["ccc"], (-1.0, 1.0))]


def coverage(answers: Answers, groups: int, repeats: int, draw) -> list[str]:
    """Returns a line for each metric: how often both methods held the truth, and their widths."""
    rng = np.random.default_rng(groups)
    found: dict[str, list[list[float]]] = {}
    for _ in range(repeats):
        for metric, truth, base, ours, bounds in draw(answers, groups, rng):
            every = (base, student(ours, groups, bounds), (ours.low, ours.high))
            inside = [float(low - 1e-9 <= truth <= high + 1e-9) for low, high in every]
            widths = [high - low for low, high in every]
            found.setdefault(metric, []).append(
                [*inside, *widths, float(ours.high - ours.low < 1e-9)]
            )
    return [
        f"{metric:<9} {groups:>6}" + "".join(f"{100 * x:>11.1f}" for x in np.mean(outcomes, 0))
        for metric, outcomes in found.items()
    ]


def student(ours: Interval, groups: int, bounds: tuple[float, float]) -> tuple[float, float]:
    """Returns Student's interval on the log-odds scale between the bounds, unmoderated."""
    least, width = bounds[0], bounds[1] - bounds[0]
    share = (ours.value - least) / width
    if not 0 < share < 1 or not ours.se > 0:
        return ours.value, ours.value
    middle = np.log(share / (1 - share))
    reach = stdtrit(groups - 1, 0.975) * ours.se / width / (share * (1 - share))
    low, high = (least + width / (1 + np.exp(-x)) for x in (middle - reach, middle + reach))
    return float(low), float(high)


def main() -> None:
    """Prints the table of every corpus."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--groups", default="2,3,5,8,20")
    args = parser.parse_args()
    print(f"coverage of 95 % intervals in %, {args.repeats} draws of groups each; widths in points")
    for corpus in CORPORA:
        if not (args.folder / f"{corpus.name}.npz").is_file():
            print(f"\n{corpus.title}: no {corpus.name}.npz in the folder, left out")
            continue
        answers = answers_of(corpus, args.folder)
        print(f"\n{corpus.title}: {len(answers.truth)} rows, {len(answers.rows_of)} groups")
        print(f"{'':16} {'coverage':>22} {'mean width':>32}")
        print("metric    groups" + 2 * " percentile    student       semi" + "   flawless")
        draw = value_draw if corpus.value else class_draw
        for groups in map(int, args.groups.split(",")):
            print("\n".join(coverage(answers, groups, args.repeats, draw)), flush=True)


if __name__ == "__main__":
    main()
