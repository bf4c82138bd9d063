"""From a standard error over few groups to the ends of a 95 % interval.

Three things make few speakers less than they seem, and each has its step here:

1. Groups of unequal size count as fewer. With m_g rows in group g they are worth
   k = (sum m_g)^2 / sum m_g^2 groups of one size (Kish 1965). A score that is a mean over classes
   has such a k of every class and the harmonic mean of them: a class that two of twenty speakers
   say is known from two. k - 1, at least 1, are the degrees of freedom of the variance V between
   groups.
2. Moderation: V of two groups is one squared difference and may be anything. What is known before
   is that rows of a group are alike to some degree r (an intraclass correlation), which makes the
   variance W of independent rows V0 = W (1 + (m - 1) r) with m rows a group (Kish 1965). V0 counts
   as PRIOR further groups: V' = (PRIOR V0 + (k - 1) V) / (PRIOR + k - 1), with Student's quantile
   of PRIOR + k - 1 degrees of freedom: the moderated t of Smyth (2004,
   https://doi.org/10.2202/1544-6115.1027). On real answers r is 0 to 0.1 for scores and 0 to 0.06
   for differences of two models; the values below are on the safe side of most.
3. What was not seen is not ruled out. Rows without an error, or two models that answered all rows
   alike, have no variance at all; W is never below that of a share of that size, p (1 - p) / n,
   and for a difference never below that of one row answered otherwise, 1 / n^2. For a mean over
   classes n is K^2 / sum 1 / n_c, with n_c rows of each of K classes.

The ends of a share are Wilson's (1927) with the effective number of rows n' = p (1 - p) / V'
(Kott and Carr 1997; Franco et al. 2019, https://doi.org/10.1093/jssam/smy019): they stay between 0
and 1, lie further below than above near the top, and with no error they are [n' / (n' + t^2), 1]
with n' = n / (1 + (m - 1) r) and t of PRIOR + G - 1 degrees of freedom: errors that were not made
are spread over no groups. CCC, which is no share, has Fisher's z: the same on log-odds of
(1 + CCC) / 2. Differences are taken as they are, their ends cut at the largest possible one. No
interval is narrower than with independent rows and the normal quantile.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NORMAL = 1.959964  # the 97.5 % quantile
PRIOR = 2  # groups that what is known before counts as
ALIKE = 0.1  # correlation of rows of one group that is taken for granted, of scores
ALIKE_PAIRED = 0.02  # and of differences


@dataclass(frozen=True)
class Sample:
    """How much a score rests on: rows and groups, and what they are worth."""

    rows: int
    groups: int | None  # None: all rows are of one, or of none that is known
    rows_worth: float  # independent rows that tell as much
    groups_worth: float  # groups of one size that tell as much


def sample_of(counts: np.ndarray, rows: int, groups: int | None) -> Sample:
    """Returns what a score rests on that is a mean over K classes, of (U, K) rows by group."""
    counts = counts[:, counts.sum(0) > 0].astype(float)
    total, classes = counts.sum(0), counts.shape[1]
    if not classes:
        return Sample(rows, groups, rows, groups or 1)
    worth = classes / ((counts**2).sum(0) / total**2).sum()
    return Sample(rows, groups, float(classes**2 / (1 / total).sum()), float(worth))


def ends(
    value: float, errors: tuple[float, float], bounds: tuple[float, float], sample: Sample,
    paired: bool,
) -> tuple[float, float, float | None]:  # fmt: skip
    """Returns low, high and, of a difference, the two-sided p.

    Args:
        value: the score, or the difference of two.
        errors: its standard error over the groups, and over the rows as if independent.
        bounds: least and largest value of the score; a least one below 0 says it is no share.
        sample: what it rests on.
        paired: whether it is a difference.
    """
    least, width = bounds[0], bounds[1] - bounds[0]
    if width <= 0:
        return value, value, None
    share = min(max((value - least) / width, 0.0), 1.0)
    unseen = 0.0
    if least == 0:
        unseen = (1 / sample.rows_worth if paired else share * (1 - share)) / sample.rows_worth
    of_rows = max(errors[1] ** 2, width**2 * unseen)
    design = 1.0
    if sample.groups:
        design += (sample.rows / sample.groups - 1) * (ALIKE_PAIRED if paired else ALIKE)
    spread, free = _moderated(errors[0], of_rows * design, of_rows, sample)
    quantile, row_spread = _student(free), float(np.sqrt(of_rows))
    if np.isnan(quantile * spread):
        return float("nan"), float("nan"), 1.0 if paired else None
    if paired:
        half = max(quantile * spread, NORMAL * row_spread)
        p = _p_value(value, spread, row_spread, free)
        return float(max(value - half, -width)), float(min(value + half, width)), p
    if least < 0:
        half = max(quantile * spread, NORMAL * row_spread)
        low, high = _fisher(share, half / width)
    else:
        worth = sample.rows_worth
        if sample.groups and not 0 < share < 1:  # no variance was seen, so no k is short of any
            quantile = _student(PRIOR + sample.groups - 1)
        pair = (
            _wilson(share, spread / width, quantile, worth / design),
            _wilson(share, row_spread / width, NORMAL, worth),
        )
        low, high = min(p[0] for p in pair), max(p[1] for p in pair)
    return least + width * low, least + width * high, None


def _moderated(se: float, before: float, of_rows: float, sample: Sample) -> tuple[float, float]:
    """Returns the standard error with what is known before, and its degrees of freedom."""
    if not sample.groups:
        return float(np.sqrt(of_rows)), sample.rows - 1
    seen = max(sample.groups_worth - 1, 1.0)
    free = PRIOR + seen
    return float(np.sqrt((PRIOR * before + seen * se**2) / free)), free


def _wilson(share: float, se: float, quantile: float, worth: float) -> tuple[float, float]:
    """Returns Wilson's ends of a share with a standard error; at 0 and 1 `worth` rows count."""
    rows = share * (1 - share) / se**2 if se > 0 and 0 < share < 1 else worth
    pull = quantile**2 / rows
    middle = (share + pull / 2) / (1 + pull)
    half = quantile * np.sqrt(share * (1 - share) / rows + pull / (4 * rows)) / (1 + pull)
    # at the ends of the scale the share itself is one of them, but for rounding
    low = 0.0 if share == 0 else max(float(middle - half), 0.0)
    return low, 1.0 if share == 1 else min(float(middle + half), 1.0)


def _fisher(share: float, half: float) -> tuple[float, float]:
    """Returns share +- half on the log-odds scale (delta method)."""
    if half == 0 or not 0 < share < 1:
        return max(share - half, 0.0), min(share + half, 1.0)
    middle, reach = np.log(share / (1 - share)), half / (share * (1 - share))
    low, high = (1 / (1 + np.exp(-x)) for x in (middle - reach, middle + reach))
    return float(low), float(high)


def _student(free: float) -> float:
    """Returns Student's 97.5 % quantile of so many degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(free, 0.975)) if free > 0 else float("nan")


def _p_value(value: float, se: float, row_se: float, free: float) -> float:
    """Returns the two-sided p of a difference: the larger of groups' and independent rows'."""
    from scipy.special import ndtr, stdtr

    if value == 0:
        return 1.0
    tails = [stdtr(free, -abs(value) / se) if se > 0 else 0.0]
    tails += [ndtr(-abs(value) / row_se) if row_se > 0 else 0.0]
    return float(min(1.0, 2 * max(tails)))
