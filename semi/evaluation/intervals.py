"""Intervals over few groups: between which scores other speakers of the same kind would lie.

A corpus has two to thirty speakers, and rows of one speaker are right or wrong together. So the
unit is the group, and the method is one for small samples. `benchmarks/interval_coverage.py` holds
it against the percentile bootstrap, whose "95 %" are 50 % with two speakers, and against Student's
interval alone, which is honest but says "somewhere between 0 and 100" of two speakers.

The variance between groups is the jackknife's. With t_g the score of all rows but those of group g,
V = (G - 1) / G * sum_g (t_g - mean t)^2; its root is `se`. For a mean over groups of one size that
is the textbook's s^2 / G, and for other scores it errs to the safe side (Efron and Stein 1981,
https://doi.org/10.1214/aos/1176345462). Nothing is drawn at random. `small_samples.py` makes the
ends of it.

Of a class that the rows left have none of, they say nothing. Macro-F1 and UAR without group g are
the mean over the classes that still have rows (as shares of those that have rows at all), not 0 for
the others. Answers without an error thus score 1 with se 0; how far down the interval reaches is
then a matter of how many rows and groups there were.

Letters: N rows, C classes, U units (groups, or kinds of rows), K numbers a unit, R sets of rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from pseudo_label.reliability import as_array

from ..data.wording import counted
from .small_samples import ends, sample_of

COUNT_METRICS = ("accuracy", "waf", "macro_f1", "uar", "micro_f1")
BLOCK_NUMBERS = 4_000_000  # numbers that are worked on at a time, 32 MB
Read = Callable[[np.ndarray], dict[str, np.ndarray]]  # sums (R, K) -> metrics (R,) by name


@dataclass
class Interval:
    """A score, or a difference of two, with its 95 % interval."""

    value: float  # on all rows
    low: float
    high: float
    se: float  # standard error over the units, by the jackknife alone
    unit: str = "groups"  # what may turn out otherwise: groups | rows
    units: int = 0  # how many of them
    note: str = ""
    p_value: float | None = None  # of a difference: two-sided, by the same quantile
    kind: str = ""  # of the groups: speaker, session, dialogue, none (each row alone); "" unknown

    def over(self) -> str:
        """Returns what the interval is over, such as '2 speakers' or '30 rows of one speaker'."""
        alone = self.kind == "none" or self.unit == "rows"
        word = "row" if alone else self.kind or "group"
        count = counted(self.units, word)
        of_one = self.unit == "rows" and self.kind not in ("", "none")
        return f"{count} of one {self.kind}" if of_one else count

    def __iter__(self):
        """Unpacks as (low, high, se)."""
        return iter((self.low, self.high, self.se))

    def to_dict(self) -> dict[str, Any]:
        """Returns a JSON-able dict."""
        return asdict(self)


def interval(probs: Any, label: Any, group: Any, metric: str = "waf") -> Interval:
    """Returns the 95 % interval of a metric over whole groups.

    `probs` is (N, C), or (N,) decided class numbers with C taken from the labels; `group` (N,) or
    None. Unpacks as `low, high, se = interval(...)`. With fewer than two groups rows are taken for
    independent, and `.note` says for whom that holds.
    """
    return _one(intervals([probs], label, group), metric)


def paired_interval(
    probs: Any, other: Any, label: Any, group: Any, metric: str = "waf"
) -> Interval:
    """Returns the 95 % interval of metric(probs) - metric(other) on the same rows.

    Of a model and itself, told by equal probabilities, it is 0 [0, 0].
    """
    return _one(intervals([probs, other], label, group), metric)


def intervals(predictions: list[Any], label: Any, group: Any) -> dict[str, Interval]:
    """Returns the interval of each of COUNT_METRICS; of the difference where two are given."""
    label = as_array(label).astype(np.int64)
    arrays = [as_array(p) for p in predictions]
    if not len(label):
        nan = float("nan")
        return dict.fromkeys(COUNT_METRICS, Interval(nan, nan, nan, nan, "rows", 0, "no rows"))
    widths = [a.shape[1] if a.ndim == 2 else int(a.max()) + 1 for a in arrays]
    count = max([*widths, int(label.max()) + 1])
    decided = [a.argmax(1) if a.ndim == 2 else a.astype(np.int64) for a in arrays]
    cells = np.stack([label * count + d for d in decided], 1)  # (N, 1 or 2)
    known = np.bincount(label, minlength=count) > 0
    # rows that fall into the same cells are alike: a few kinds stand for all of them
    kinds, times = np.unique(cells, axis=0, return_counts=True)
    rows = Units([np.eye(count**2)[k] for k in kinds.T], times)
    number, groups = numbered(group, len(label)), None
    if number.max() >= 1:
        size = (int(number.max()) + 1) * count**2
        flat = [np.bincount(number * count**2 + c, minlength=size) for c in cells.T]
        groups = Units([f.reshape(-1, count**2) for f in flat])

    def read(sums: np.ndarray) -> dict[str, np.ndarray]:
        return metrics_from_confusion(sums.reshape(-1, count, count), known)

    by_class = np.zeros((int(number.max()) + 1, count))
    np.add.at(by_class, (number, label), 1)
    in_all = by_class.sum(1, keepdims=True)
    # of the classes without a row macro-F1 and UAR have 0 whatever is said
    most = {"macro_f1": float(known.mean()), "uar": float(known.mean())}
    ranges = {m: (0.0, most.get(m, 1.0)) for m in COUNT_METRICS}
    counts = {m: by_class if m in most else in_all for m in COUNT_METRICS}
    found = over_units(read, rows, groups, ranges, counts)
    return no_difference(found) if one_model(arrays) else found


def one_model(probs: list[np.ndarray]) -> bool:
    """Says whether two arrays (N, C) are one model's probabilities: equal digit by digit.

    Decisions alone, 0 or 1, may be equal by chance on the rows at hand; probabilities are not.
    """
    if len(probs) != 2 or probs[0].ndim != 2 or not np.array_equal(probs[0], probs[1]):
        return False
    return bool(((probs[0] > 0) & (probs[0] < 1)).any())


def no_difference(found: dict[str, Interval]) -> dict[str, Interval]:
    """Returns the intervals of a difference of a model to itself: 0 on any rows."""
    return {name: replace(gap, low=0.0, high=0.0) for name, gap in found.items()}


def metrics_from_confusion(
    matrix: np.ndarray, known: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Returns the count metrics of (..., C, C) confusion tables, each of shape (...).

    A class without rows counts 0 in macro-F1 and UAR. With `known` (C,) bool, the classes that the
    whole data has rows of, the tables are parts of it: those of `known` that a table lacks are left
    out of its mean, instead of counting 0.
    """
    matrix = matrix.astype(float)
    hit = np.diagonal(matrix, axis1=-2, axis2=-1)  # (..., C)
    truth, named, total = matrix.sum(-1), matrix.sum(-2), matrix.sum((-2, -1))
    f1 = ratio(2 * hit, truth + named)
    accuracy = ratio(hit.sum(-1), total)
    return {
        "accuracy": accuracy,
        "waf": ratio((f1 * truth).sum(-1), total),
        "macro_f1": mean_of_present(f1, truth, known),
        "uar": mean_of_present(ratio(hit, truth), truth, known),
        "micro_f1": accuracy,
    }


def mean_of_present(
    values: np.ndarray, support: np.ndarray, known: np.ndarray | None
) -> np.ndarray:
    """Returns (...) the mean of (..., C) over classes; see `metrics_from_confusion` for `known`."""
    if known is None:
        return values.mean(-1)
    present = support > 0
    return ratio((values * present).sum(-1), present.sum(-1)) * known.mean()


@dataclass
class Units:
    """What may turn out otherwise: sums of each unit, and how often such a unit occurs."""

    parts: list[np.ndarray]  # per prediction set (U, K)
    times: np.ndarray | None = None  # (U,); None: once each

    @property
    def paired(self) -> bool:
        """Says whether the difference of two prediction sets is asked for."""
        return len(self.parts) == 2

    @property
    def count(self) -> int:
        """How many units there are."""
        return len(self.parts[0]) if self.times is None else int(self.times.sum())


def over_units(
    read: Read, rows: Units, groups: Units | None, ranges: dict[str, tuple[float, float]],
    counts: dict[str, np.ndarray],
) -> dict[str, Interval]:  # fmt: skip
    """Returns the 95 % interval of each metric that `read` makes of sums; see the file's head.

    Args:
        read: sums (R, K) -> metrics (R,) by name.
        rows: the rows as units, with one prediction set, or two whose difference is asked for.
        groups: the groups as units; None where there are fewer than two.
        ranges: least and largest value of each metric.
        counts: per metric (U, C) rows of each group, by class if it is a mean over C classes,
            else (U, 1); (1, C) or (1, 1) where there are no groups.
    """
    of_rows, found = jackknife(read, rows), {}
    of_groups = jackknife(read, groups) if groups else of_rows
    unit, count = ("groups", groups.count) if groups else ("rows", rows.count)
    note = "" if groups else (
        "all rows are of one group, or of none that is known: the interval takes rows for "
        "independent and holds for this group only, not for other speakers"
    )  # fmt: skip
    for name, (value, se) in of_groups.items():
        sample = sample_of(counts[name], rows.count, groups.count if groups else None)
        errors = se, of_rows[name][1]
        low, high, p = ends(value, errors, ranges[name], sample, rows.paired)
        found[name] = Interval(value, low, high, se, unit, count, note, p)
    return found


def jackknife(read: Read, units: Units) -> dict[str, tuple[float, float]]:
    """Returns each metric on all units, and its delete-one standard error; nan for one unit."""
    times = np.ones(units.count) if units.times is None else units.times.astype(float)
    wholes, n = [times @ part for part in units.parts], units.count
    step = max(1, BLOCK_NUMBERS // wholes[0].size)
    found: dict[str, list[np.ndarray]] = {}
    for begin in range(0, len(times), step):
        pairs = zip(wholes, units.parts, strict=True)
        without = [read(whole - part[begin : begin + step]) for whole, part in pairs]
        for name, values in _difference(without).items():
            found.setdefault(name, []).append(values)
    value, errors = _difference([read(whole[None]) for whole in wholes]), {}
    for name, blocks in found.items():
        left = np.concatenate(blocks)
        spread = times @ (left - times @ left / n) ** 2
        errors[name] = float(np.sqrt((n - 1) / n * spread)) if n > 1 else float("nan")
    return {name: (float(v[0]), errors[name]) for name, v in value.items()}


def _difference(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Returns the metrics of one prediction set, or what the first has more than the second."""
    return parts[0] if len(parts) == 1 else {k: v - parts[1][k] for k, v in parts[0].items()}


def numbered(group: Any, rows: int) -> np.ndarray:
    """Returns (N,) the number of each row's group, from 0; all 0 where no groups are given."""
    if group is None:
        return np.zeros(rows, dtype=np.int64)
    return np.unique(as_array(group).astype(str), return_inverse=True)[1].reshape(-1)


def _one(found: dict[str, Interval], metric: str) -> Interval:
    if metric not in COUNT_METRICS:
        raise ValueError(f"metric must be one of {', '.join(COUNT_METRICS)}, got '{metric}'")
    return found[metric]


def ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns a / b, 0 where b is 0."""
    return np.divide(a, b, out=np.zeros(np.broadcast(a, b).shape), where=b > 0)
