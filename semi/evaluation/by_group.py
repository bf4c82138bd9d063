"""Scores of each group of rows, and whether a group differs from the rest.

Groups are the values of some column: women and men, languages, quarters of the length. Rows of one
speaker are right or wrong together, so speakers are what intervals and tests count.

A group is held against all other rows. Of classes, the score of that comparison is the mean over
those that both sides have, on rows of these: a speaker who was never sad is not compared in
sadness. Where no speaker stands on both sides (sex), the test permutes whole speakers: p is the
share of ways to deal them out that differ as much or more (all ways where there are few). Where
speakers stand on both sides (length, session), each is held against himself: p is that of the
paired difference by the jackknife of `intervals.py`. What is tested together is corrected
together, by Holm (1979).

Letters: N rows, U units (speakers; rows where there are no speakers), K sums a row, M kinds of
rows, P permutations, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np

from .holm import holm
from .intervals import Interval, Read, Units, metrics_from_confusion, numbered, over_units
from .multitask import affect_sums, multi_sums

LEAST_ROWS = 10  # a group of fewer has its count, but no interval and no test
WAYS = 5000  # ways to deal speakers out that are tried: all, or as many at random
MOST_UNITS = 2000  # beyond so many units the jackknife's p is as good, and does not take hours


@dataclass
class GoldAnswers:
    """What a model says of N gold rows, and what is true: classes, values, or both."""

    unit: np.ndarray  # (N,) speaker or other group; rows of one are not independent
    kind: str = ""  # of the units: speaker, session, dialogue, none; "" unknown
    label: np.ndarray | None = None  # (N,) int true class
    decided: np.ndarray | None = None  # (N,) int decided class
    several: np.ndarray | None = None  # (N, C) 0 or 1
    probs: np.ndarray | None = None  # (N, C), with `several`
    affect: np.ndarray | None = None  # (N, 2) valence and arousal as said
    affect_truth: np.ndarray | None = None  # (N, 2), NaN unknown

    @property
    def metric(self) -> str:
        """Returns the score that groups are compared in."""
        return "ccc" if self.label is None and self.several is None else "macro_f1"

    def at(self, rows: np.ndarray) -> GoldAnswers:
        """Returns the answers of some rows."""
        cut = {k: v[rows] for k, v in vars(self).items() if isinstance(v, np.ndarray)}
        return GoldAnswers(**{**vars(self), **cut})


@dataclass
class GroupScore:
    """One group: its scores, and how it differs from the rest."""

    rows: int
    units: int
    scores: dict[str, Interval]  # by metric; no ends where the group is too small
    rest_rows: int = 0
    difference: Interval | None = None  # group - rest; ends NaN where one side is of one speaker
    p_value: float | None = None
    p_holm: float | None = None
    least_p: float = 0.0  # the smallest p that so few speakers can give
    why_not: str = ""  # why there is no interval or no test

    @property
    def small(self) -> bool:
        """Says whether the group has too few rows for an interval."""
        return self.rows < LEAST_ROWS


@dataclass
class _Sums:
    """Kinds of rows whose sums make the scores, and which kind each of N rows is."""

    table: np.ndarray  # (M, K)
    kind: np.ndarray  # (N,)
    read: Read
    ranges: dict[str, tuple[float, float]]
    by_class: np.ndarray  # (N, C) which class of a mean over classes a row counts for

    def units(self, unit: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
        """Returns (count, K) sums of some rows by unit."""
        from scipy import sparse

        where = (unit[rows], self.kind[rows])
        shape = (count, len(self.table))
        return sparse.csr_matrix((np.ones(len(rows)), where), shape=shape) @ self.table


def score_groups(answers: GoldAnswers, groups: Sequence[np.ndarray]) -> list[GroupScore]:
    """Returns the scores of each group, given as the places (n,) of its rows; nothing corrected."""
    whole = np.arange(len(answers.unit))
    return [_score_group(answers, rows, np.setdiff1d(whole, rows)) for rows in groups]


def correct(columns: Sequence[Sequence[GroupScore]]) -> int:
    """Writes Holm's corrected p of the groups of all columns; returns how many tests these are.

    Two groups that are each other's rest are one test.
    """
    tested = []
    for groups in columns:
        of_column = [s for s in groups if s.p_value is not None]
        tested += of_column[:1] if len(groups) == 2 else of_column
    for score, p in zip(tested, holm([s.p_value or 0.0 for s in tested]), strict=True):
        score.p_holm = p
    for groups in columns:
        if len(groups) == 2 and groups[1].p_value is not None:
            groups[1].p_holm = groups[0].p_holm
    return len(tested)


def _score_group(answers: GoldAnswers, rows: np.ndarray, rest: np.ndarray) -> GroupScore:
    part = answers.at(rows)
    scores = scores_of(part)
    found = GroupScore(len(rows), len(np.unique(part.unit)), scores, len(rest))
    if found.small:
        for name, value in scores.items():
            scores[name] = Interval(value.value, np.nan, np.nan, np.nan, value.unit, value.units)
        found.why_not = f"fewer than {LEAST_ROWS} rows"
    elif len(rest) < LEAST_ROWS:
        found.why_not = f"fewer than {LEAST_ROWS} other rows"
    else:
        _compare(found, answers, rows, rest)
    return found


def scores_of(answers: GoldAnswers) -> dict[str, Interval]:
    """Returns every score of the rows with its 95 % interval; means are over classes they have."""
    nothing = {answers.metric: Interval(np.nan, np.nan, np.nan, np.nan)}
    sums = _sums(answers, None)
    found = nothing if sums is None else _over(sums, answers, None)
    values = _affect(answers) if answers.metric != "ccc" else None
    return found if values is None else found | _over(values, answers, None)


def _compare(found: GroupScore, answers: GoldAnswers, rows: np.ndarray, rest: np.ndarray) -> None:
    """Writes the difference of a group to the rest, and its p."""
    known = _classes_of_both(answers, rows, rest)
    if known is not None and not known.any():
        found.why_not = "no class in common with the other rows"
        return
    if known is not None and answers.label is not None:
        kept = known[answers.label]
        rows, rest = rows[kept[rows]], rest[kept[rest]]
    both = np.concatenate([rows, rest])
    inside = np.arange(len(both)) < len(rows)
    part = answers.at(both)
    sums = _sums(part, known)
    if sums is None:
        found.why_not = "too few values are known"
        return
    unit = numbered(part.unit, len(both))
    count = int(unit.max()) + 1
    sides = [sums.units(unit, np.flatnonzero(side), count) for side in (inside, ~inside)]
    there = np.array([np.bincount(unit[side], minlength=count) > 0 for side in (inside, ~inside)])
    found.difference = _over(sums, part, inside)[part.metric]
    if count > 1 and there.sum(1).min() < 2:
        found.difference.low = found.difference.high = float("nan")
        found.difference.p_value = None
    apart = not there.all(0).any()
    if apart and 1 < count <= MOST_UNITS:
        read = _reads(sums, part.metric)
        found.p_value, found.least_p = permuted(read, sides[0] + sides[1], there[0])
    else:
        found.p_value = found.difference.p_value
    if found.p_value is None:
        found.why_not = f"only one {answers.kind or 'group'} on a side"


def permuted(
    read: Callable[[np.ndarray], np.ndarray], sums: np.ndarray, inside: np.ndarray
) -> tuple[float, float]:
    """Returns the two-sided p of a group of whole speakers, and the smallest that there could be.

    Args:
        read: sums (P, K) -> score (P,).
        sums: (U, K) of each speaker.
        inside: (U,) bool, who is in the group.
    """
    count, size = len(sums), int(inside.sum())
    ways, total = comb(count, size), sums.sum(0)
    if ways <= WAYS:
        dealt = np.zeros((ways, count), dtype=bool)
        for i, chosen in enumerate(combinations(range(count), size)):
            dealt[i, list(chosen)] = True
    else:  # drawn anew from the same seed: the same rows have the same p
        order = np.random.default_rng(0).random((WAYS - 1, count)).argsort(1)
        dealt = np.concatenate([order < size, inside[None]])
    part = dealt.astype(float) @ sums
    gap = np.abs(read(part) - read(total - part))
    own = np.abs(read((inside @ sums)[None]) - read(((~inside) @ sums)[None]))[0]
    least = (2 if 2 * size == count else 1) / len(dealt)
    return float((gap >= own - 1e-12).mean()), least


def _over(sums: _Sums, answers: GoldAnswers, inside: np.ndarray | None) -> dict[str, Interval]:
    """Returns each score of the rows, or of those inside minus the others, with its interval."""
    unit, every = numbered(answers.unit, len(answers.unit)), np.arange(len(answers.unit))
    count = int(unit.max()) + 1
    sides = [every] if inside is None else [every[inside], every[~inside]]
    code = sums.kind if inside is None else sums.kind * 2 + inside
    kinds, times = np.unique(code, return_counts=True)
    if inside is None:
        parts = [sums.table[kinds]]
    else:
        table, within = sums.table[kinds // 2], (kinds % 2 == 1)[:, None]
        parts = [np.where(within, table, 0.0), np.where(within, 0.0, table)]
    groups = Units([sums.units(unit, side, count) for side in sides]) if count > 1 else None
    fewest = min(sides, key=len)  # a difference is known no better than its smaller side
    by_class = np.zeros((count, sums.by_class.shape[1]))
    np.add.at(by_class, unit[fewest], sums.by_class[fewest])
    by_class = by_class[by_class.sum(1) > 0]
    total = by_class.sum(1, keepdims=True)
    means = ("macro_f1", "uar")
    counts = {name: by_class if name in means else total for name in sums.ranges}
    found = over_units(sums.read, Units(parts, times), groups, sums.ranges, counts)
    for interval in found.values():
        interval.kind = answers.kind
    return found


def _sums(answers: GoldAnswers, known: np.ndarray | None) -> _Sums | None:
    """Returns what the scores of the rows are made of; None where nothing is known of them.

    Args:
        answers: of N rows.
        known: (C,) bool, the classes that count; None = those that the rows have.
    """
    if answers.metric == "ccc":
        return _affect(answers)
    every = np.arange(len(answers.unit))
    if answers.several is not None and answers.probs is not None:
        truth = answers.several > 0.5
        known = np.asarray(truth.any(0)) if known is None else known
        if not known.any():
            return None
        sums = multi_sums(answers.probs[:, known], truth[:, known])
        ranges = dict.fromkeys(sums.ranges, (0.0, 1.0))
        return _Sums(sums.table, every, sums.read, ranges, truth[:, known].astype(float))
    assert answers.label is not None and answers.decided is not None
    count = int(max(answers.label.max(), answers.decided.max())) + 1
    if known is None:
        known = np.bincount(answers.label, minlength=count) > 0
    count = max(count, len(known))
    used = np.pad(known, (0, count - len(known)))

    def read(sums: np.ndarray) -> dict[str, np.ndarray]:
        found = metrics_from_confusion(sums.reshape(-1, count, count), used)
        means = {k: found[k] / used.mean() for k in ("macro_f1", "uar")}
        return {"macro_f1": means["macro_f1"], "uar": means["uar"], "waf": found["waf"],
                "accuracy": found["accuracy"]}  # fmt: skip

    names: list[str] = ["macro_f1", "uar", "waf", "accuracy"]
    ranges = dict.fromkeys(names, (0.0, 1.0))
    kind = answers.label * count + answers.decided
    return _Sums(np.eye(count**2), kind, read, ranges, np.eye(count)[answers.label])


def _affect(answers: GoldAnswers) -> _Sums | None:
    """Returns what CCC is made of; None where fewer than two values are known, or none asked."""
    truth = answers.affect_truth
    if truth is None or (~np.isnan(truth)).sum(0).max(initial=0) < 2:
        return None
    value = answers.affect if answers.affect is not None else np.full_like(truth, np.nan)
    unknown = np.isnan(value)  # by a member that has no values: such rows count for nothing
    sums = affect_sums(np.where(unknown, 0.0, value), np.where(unknown, np.nan, truth))
    every = np.arange(len(truth))
    return _Sums(sums.table, every, sums.read, sums.ranges, np.ones((len(every), 1)))


def _classes_of_both(answers: GoldAnswers, rows: np.ndarray, rest: np.ndarray) -> np.ndarray | None:
    """Returns (C,) bool, the classes that both sides have; None of valence and arousal."""
    if answers.several is not None:
        return np.asarray(
            (answers.several[rows] > 0.5).any(0) & (answers.several[rest] > 0.5).any(0)
        )
    if answers.label is None:
        return None
    count = int(answers.label.max()) + 1
    has = [np.bincount(answers.label[side], minlength=count) > 0 for side in (rows, rest)]
    return has[0] & has[1]


def _reads(sums: _Sums, metric: str) -> Callable[[np.ndarray], np.ndarray]:
    return lambda table: sums.read(table)[metric]
