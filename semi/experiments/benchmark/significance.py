"""Intervals of a benchmark: test groups and runs are both drawn again, for all arms alike.

Why not `semi.evaluation.intervals`, as runs and comparisons have? That asks how the answers that
were given would fare with other speakers. A benchmark asks what an arm gains in the mean over
speakers and over label draws and seeds, and of either it has a few: two causes of chance, crossed.
Its share of the oracle's gap is a ratio, and its mean over corpora a sum, for which resamples that
all arms share need no formula of their own. And it keeps counts of every group, run and arm, not
which rows two arms answered differently, from which the other method has its lower bound.

So groups and runs are drawn again, one less of each than there are, and the percentiles widened by
Student's quantile of the smaller number. On real answers and with 5 or 15 label draws that holds
the truth in 88 to 100 % of draws of 5 to 20 speakers, mostly wider than it need be, and in 80 to
100 % of draws of 2 or 3, less (60 %) only where two arms hardly ever differ. At most 1.5 % of draws
had p < 0.05 on the wrong side of 0 (`benchmarks/results/benchmark_coverage.txt`). Below MIN_RUNS
runs no verdict is given at all.

Letters: R resamples, U groups, C classes.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...evaluation.holm import holm
from ...evaluation.intervals import metrics_from_confusion
from .results import (
    ALL_LABELS,
    LOGISTIC,
    LOGISTIC_ORACLE,
    ORACLE,
    SUPERVISED,
    Arm,
    Results,
    mean_facts,
)

NOT_RULES = (SUPERVISED, ORACLE, LOGISTIC, LOGISTIC_ORACLE, "placebo", "shuffled", "usb_supervised")
FACTS = ("gold_rows", "rounds", "accepted", "coverage", "precision", "cpu_seconds")  # of a line
LEVEL = 0.05
MIN_RUNS = 5  # label draws x seeds below which no verdict is given: a placebo "wins" then


@dataclass
class Draw:
    """A number and what it was in each resample."""

    value: float
    drawn: np.ndarray  # (R,)

    def interval(self) -> tuple[float, float]:
        """Returns the 95 % percentile interval."""
        low, high = np.percentile(self.drawn, [2.5, 97.5])
        return float(low), float(high)

    def p_value(self) -> float:
        """Returns the two-sided share of resamples across zero, never 0."""
        tail = min(float((self.drawn <= 0).mean()), float((self.drawn >= 0).mean()))
        return min(1.0, 2 * max(tail, 1 / (len(self.drawn) + 1)))

    def __sub__(self, other: Draw) -> Draw:
        return Draw(self.value - other.value, self.drawn - other.drawn)


@dataclass
class Line:
    """One arm at one budget on one corpus, or in the mean over corpora."""

    dataset: str
    budget: str
    arm: str
    against: str
    runs: int
    score: float
    reference: float
    gain: Draw  # score - reference on the same draws, seeds and resamples
    gap: Draw | None  # oracle - reference
    share: Draw | None  # gain / gap; None where no gap can be measured
    p_holm: float = 1.0
    facts: dict[str, float] | None = None

    def verdict(self) -> str:
        """Returns what the interval supports, and no more."""
        if self.runs < MIN_RUNS:
            return "too few runs"
        low, high = self.gain.interval()
        if self.p_holm < LEVEL and low > 0:
            return "better"
        if self.p_holm < LEVEL and high < 0:
            return "worse"
        return "not distinguishable"


class Resampler:
    """The resamples of one corpus and budget; every arm sees the same ones.

    Groups and runs (a run has a label draw and a seed of its own) are drawn independently.
    """

    def __init__(self, name: str, groups: int, runs: list[tuple[int, int]], count: int):
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        self.groups = _few(rng, groups, count)  # (R, U)
        self.runs = {run: i for i, run in enumerate(sorted(runs))}
        self.weight = _few(rng, len(runs), count)  # (R, runs)

    def measure(self, arm: Arm, metric: str, runs: list[tuple[int, int]]) -> Draw:
        """Returns the mean metric of an arm over runs (seed, draw), and its resamples."""
        per_run = np.stack([self._metric(arm.tables[r], metric) for r in runs], 1)  # (R + 1, runs)
        weight = self.weight[:, [self.runs[r] for r in runs]]
        weight = np.where(weight.sum(1, keepdims=True) > 0, weight, 1.0)  # none drawn: all of them
        drawn = (per_run[1:] * weight).sum(1) / weight.sum(1)
        middle = drawn.mean()
        drawn = middle + self._widening(len(runs)) * (drawn - middle)
        return Draw(float(per_run[0].mean()), drawn)

    def _metric(self, table: np.ndarray, metric: str) -> np.ndarray:
        """Returns the metric on all groups, then on each resample of them, (R + 1,).

        Of a class that no group drawn has, a resample says nothing: it is left out of its mean.
        """
        times = np.concatenate([np.ones((1, len(table))), self.groups])
        whole = (times @ table.reshape(len(table), -1)).reshape(-1, *table.shape[1:])
        return metrics_from_confusion(whole, known=table.sum((0, 2)) > 0)[metric]

    def _widening(self, runs: int) -> float:
        """Returns Student's quantile over the normal one: few units make percentiles too narrow."""
        from scipy.stats import norm, t

        free = max(min(runs, self.groups.shape[1]) - 1, 1)
        return float(t.ppf(0.975, free) / norm.ppf(0.975)) if runs > 1 else 1.0


def _few(rng: np.random.Generator, units: int, count: int) -> np.ndarray:
    """Returns how often each of a few units is drawn, (R, units).

    units - 1 of them are drawn, so that the variance is not too small by (units - 1) / units
    (Rao and Wu 1988, https://doi.org/10.1080/01621459.1988.10478591). A single one always counts.
    """
    if units == 1:
        return np.ones((count, 1))
    return rng.multinomial(units - 1, np.full(units, 1 / units), size=count).astype(float)


def lines_of(
    name: str, results: Results, metric: str, resamples: int, against: str = "",
    shown: Sequence[str] = (),
) -> list[Line]:  # fmt: skip
    """Returns every arm of a corpus measured against its reference, Holm-corrected per budget.

    With `against` all arms that are `shown` (none named: all), measured against that one.
    """
    all_lines = []
    for budget in results.budgets():
        arms = {a: v for (b, a), v in results.arms.items() if b == budget}
        everything = {a: v for (b, a), v in results.arms.items() if b == ALL_LABELS}
        runs = sorted({run for arm in arms.values() for run in arm.tables})
        sampler = Resampler(name, results.groups, runs, resamples)
        lines = []
        for arm, entry in arms.items():
            reference = against or results.reference(arm)
            if shown and arm not in shown:
                continue
            if reference not in arms or arm == reference:
                continue
            pair = (entry, arms[reference])
            line = _line(name, budget, arm, reference, pair, everything, sampler, metric)
            if line is not None:
                lines.append(line)
        _holm([line for line in lines if against or line.arm not in NOT_RULES])
        _holm([line for line in lines if not against and line.arm in NOT_RULES])
        all_lines += lines
    return all_lines


def _line(name, budget, arm, against, pair, everything, sampler, metric) -> Line | None:
    """Returns one comparison on the runs that both arms have."""
    entry, reference = pair
    shared = sorted(set(entry.tables) & set(reference.tables))
    if not shared:
        return None
    score, baseline = (sampler.measure(a, metric, shared) for a in (entry, reference))
    top = everything.get(LOGISTIC_ORACLE if against == LOGISTIC else ORACLE)
    gain, gap, share = score - baseline, None, None
    if top is not None:
        tops = [(s, 0) for s in sorted({s for s, _ in shared}) if (s, 0) in top.tables]
        same = [r for r in shared if (r[0], 0) in tops]
        if tops and len(same) == len(shared):
            spread = Arm({r: top.tables[r[0], 0] for r in shared})
            gap = sampler.measure(spread, metric, shared) - baseline
            share = share_of(gain, gap)
    return Line(
        name, budget, arm, against, len(shared), score.value, baseline.value, gain, gap, share,
        facts=mean_facts(entry.facts, FACTS),
    )  # fmt: skip


def share_of(gain: Draw, gap: Draw) -> Draw | None:
    """Returns gain / gap, or None unless the gap is surely above zero."""
    if gap.interval()[0] <= 0:
        return None
    return Draw(gain.value / gap.value, gain.drawn / np.maximum(gap.drawn, 1e-9))


def _holm(lines: list[Line]) -> None:
    """Writes Holm-corrected p-values: the smallest counts as many times as there are arms."""
    for line, p in zip(lines, holm([x.gain.p_value() for x in lines]), strict=True):
        line.p_holm = p


def mean_lines(lines: list[Line]) -> list[Line]:
    """Returns each arm and budget in the mean over the corpora that have it, at least two."""
    means = []
    for budget in dict.fromkeys(line.budget for line in lines):
        lines_of_budget = []
        for arm in dict.fromkeys(line.arm for line in lines if line.budget == budget):
            of_arm = [x for x in lines if x.budget == budget and x.arm == arm]
            if len(of_arm) < 2:
                continue
            shares = [x.share for x in of_arm if x.share is not None]
            lines_of_budget.append(
                Line(
                    f"mean of {len(of_arm)}", budget, arm, of_arm[0].against,
                    min(x.runs for x in of_arm),
                    float(np.mean([x.score for x in of_arm])),
                    float(np.mean([x.reference for x in of_arm])),
                    _mean([x.gain for x in of_arm]), None, _mean(shares) if shares else None,
                )
            )  # fmt: skip
        _holm([line for line in lines_of_budget if line.arm not in NOT_RULES])
        _holm([line for line in lines_of_budget if line.arm in NOT_RULES])
        means += lines_of_budget
    return means


def _mean(parts: list[Draw]) -> Draw:
    """Returns the mean of independent numbers."""
    return Draw(float(np.mean([p.value for p in parts])), np.mean([p.drawn for p in parts], 0))
