"""Intervals over few groups: the jackknife by hand, Student's quantile, classes that are absent."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score, recall_score

from semi.evaluation.intervals import (
    interval,
    intervals,
    metrics_from_confusion,
    paired_interval,
)
from semi.evaluation.multitask import affect_sums, multi_sums, of_sums
from semi.evaluation.small_samples import ALIKE, ALIKE_PAIRED, PRIOR, sample_of

METRICS = ["accuracy", "waf", "macro_f1", "uar", "micro_f1"]


def answers(rows=200, groups=8, right=0.7, seed=0):
    """Labels of four classes, answers to them, and groups of unequal size."""
    rng = np.random.default_rng(seed)
    label = rng.choice(4, rows, p=[0.5, 0.3, 0.15, 0.05])
    said = np.where(rng.random(rows) < right, label, rng.integers(0, 4, rows))
    return said, label, np.sort(rng.integers(0, groups, rows))


def by_hand(said, label, metric):
    """Returns the metric over the classes that have rows, by scikit-learn."""
    if metric in ("accuracy", "micro_f1"):
        return float((said == label).mean())
    if metric == "waf":
        return float(f1_score(label, said, average="weighted"))
    of_class = recall_score if metric == "uar" else f1_score
    return float(of_class(label, said, average="macro", labels=np.unique(label)))


@pytest.mark.parametrize("metric", METRICS)
def test_the_standard_error_is_that_of_leaving_out_each_group_in_turn(metric):
    said, label, group = answers()
    label[group == 3] = np.where(label[group == 3] == 3, 0, label[group == 3])
    found = interval(np.eye(4)[said], label, group, metric)
    left = np.array([by_hand(said[group != g], label[group != g], metric) for g in range(8)])
    assert found.value == pytest.approx(by_hand(said, label, metric))
    assert found.se == pytest.approx(math.sqrt(7 / 8 * np.sum((left - np.mean(left)) ** 2)))
    assert (found.unit, found.units, found.note) == ("groups", 8, "")
    low, high, se = found
    assert low < found.value < high and se == found.se


def wilson(share, rows, quantile):
    """Returns the ends as the textbook has them: where (share - x)^2 = q^2 x (1 - x) / rows."""
    a, b = 1 + quantile**2 / rows, -(2 * share + quantile**2 / rows)
    return sorted(np.roots([a, b, share**2]).real)


def test_the_mean_over_groups_of_one_size_gets_wilsons_moderated_interval():
    """Its standard error is the textbook's s / sqrt(G); so many rows as give it are taken."""
    rng = np.random.default_rng(1)
    label, group = np.zeros(500, dtype=int), np.arange(500) // 100
    said = (rng.random(500) < np.array([0.1, 0.2, 0.4, 0.3, 0.6])[group]).astype(int)
    shares = np.array([(said[group == g] == 0).mean() for g in range(5)])
    mean, se = shares.mean(), shares.std(ddof=1) / math.sqrt(5)
    independent = mean * (1 - mean) / 499  # the variance if all rows were
    before = independent * (1 + 99 * ALIKE)
    variance = (PRIOR * before + 4 * se**2) / (PRIOR + 4)
    ends = wilson(mean, mean * (1 - mean) / variance, stats.t.ppf(0.975, PRIOR + 4))
    found = interval(np.eye(2)[said], label, group, "accuracy")
    assert (found.value, found.se) == (pytest.approx(mean), pytest.approx(se))
    assert [found.low, found.high] == pytest.approx(ends)


@pytest.mark.parametrize("metric", METRICS)
def test_answers_without_an_error_are_one_and_reach_down_as_far_as_so_few_groups_may(metric):
    """Each class is said by two of six groups: no group left out leaves all classes."""
    label, group = np.repeat([0, 1, 2], 10), np.repeat(np.arange(6), 5)
    found = interval(np.eye(3)[label], label, group, metric)
    assert (found.value, found.high, found.se) == (1.0, 1.0, 0.0)
    quantile, rows = stats.t.ppf(0.975, PRIOR + 5), 30 / (1 + 4 * ALIKE)
    assert found.low == pytest.approx(rows / (rows + quantile**2))
    more = interval(np.eye(3)[np.tile(label, 9)], np.tile(label, 9), np.arange(270) // 5, metric)
    assert found.low < more.low < more.high == 1.0
    none = interval(np.eye(3)[(label + 1) % 3], label, group, metric)
    assert (none.value, none.low) == (0.0, 0.0)
    assert none.high == pytest.approx(1 - found.low)


def test_a_class_that_is_always_right_and_one_that_is_never_right_do_not_make_a_point():
    """No row left out changes UAR here, and still another speaker might."""
    label, group = np.tile([0, 1], 20), np.arange(40) // 10
    found = interval(np.eye(2)[np.zeros(40, dtype=int)], label, group, "uar")
    assert (found.value, found.se) == (0.5, 0.0)
    assert found.low < 0.35 and found.high > 0.65


def test_a_class_that_two_groups_have_is_known_from_two():
    """Of twenty groups of twenty rows all have both classes, or two alone the second."""
    every, two = np.full((20, 2), 10), np.repeat([[20, 0], [0, 20]], [18, 2], axis=0)
    assert sample_of(every, 400, 20).groups_worth == pytest.approx(20)
    assert sample_of(two, 400, 20).groups_worth == pytest.approx(2 / (1 / 18 + 1 / 2))
    assert sample_of(two, 400, 20).rows_worth == pytest.approx(4 / (1 / 360 + 1 / 40))
    whole = sample_of(two.sum(1, keepdims=True), 400, 20)
    assert (whole.groups_worth, whole.rows_worth) == (pytest.approx(20), pytest.approx(400))


def test_groups_of_unequal_size_count_as_fewer():
    sizes = np.array([[80], [2], [2], [2]])
    assert sample_of(sizes, 86, 4).groups_worth == pytest.approx(86**2 / (80**2 + 12))
    said, label, _ = answers(400, right=0.8)
    even = interval(np.eye(4)[said], label, np.arange(400) % 8, "accuracy")
    uneven = interval(np.eye(4)[said], label, np.minimum(np.arange(400) // 4, 7), "accuracy")
    assert even.units == uneven.units == 8
    assert uneven.high - uneven.low > even.high - even.low


def test_a_class_that_no_row_has_counts_nothing_wherever_it_counts_nothing_in_the_score():
    label, group = np.repeat([0, 1], 10), np.arange(20) % 4
    found = interval(np.eye(4)[label], label, group, "uar")
    two = interval(np.eye(2)[label], label, group, "uar")
    assert (found.value, found.high, found.se) == (0.5, 0.5, 0.0)
    assert (two.value, two.low) == (1.0, pytest.approx(2 * found.low))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("groups", [2, 3, 5])
def test_few_groups_get_wide_intervals_whose_ends_are_possible_scores(metric, groups):
    said, label, group = answers(rows=60 * groups, groups=groups, right=0.9)
    found = interval(np.eye(4)[said], label, group, metric)
    assert 0 < found.low < found.value < found.high < 1
    alone = interval(np.eye(4)[said], label, np.arange(len(label)), metric)  # a row a group
    assert found.high - found.low > 1.5 * (alone.high - alone.low)


def test_groups_that_are_alike_by_chance_do_not_make_the_interval_vanish():
    """They count as alike as those of other corpora, not as exactly alike."""
    said, label, _ = answers(100)
    twice = np.tile(said, 2), np.tile(label, 2), np.repeat([0, 1], 100)
    found = interval(np.eye(4)[twice[0]], *twice[1:], "accuracy")
    assert found.se == 0
    independent = 2 * 1.96 * math.sqrt(found.value * (1 - found.value) / 200)
    assert found.high - found.low > 2 * independent


def test_one_group_is_told_to_stand_for_itself_alone():
    said, label, _ = answers(300)
    alone = interval(np.eye(4)[said], label, np.zeros(300), "accuracy")
    assert (alone.unit, alone.units) == ("rows", 300)
    assert "holds for this group only, not for other speakers" in alone.note
    p = alone.value
    assert alone.se == pytest.approx(math.sqrt(p * (1 - p) / 299))
    assert tuple(interval(said, label, None, "accuracy")) == tuple(alone)


def test_no_rows_have_no_interval_and_unknown_metrics_are_refused():
    assert math.isnan(interval(np.zeros((0, 5)), np.zeros(0, dtype=int), None).value)
    said, label, group = answers()
    with pytest.raises(ValueError, match="metric must be one of accuracy, waf, macro_f1"):
        interval(said, label, group, "f1")


@pytest.mark.parametrize("grouped", [True, False])
def test_paired_differences_cancel_what_both_share(grouped):
    said, label, group = answers(400, right=0.8)
    group = group if grouped else None
    worse = said.copy()
    worse[::10] = (worse[::10] + 1) % 4
    gap = paired_interval(said, worse, label, group, "accuracy")
    assert gap.value == pytest.approx((said == label).mean() - (worse == label).mean())
    assert gap.low > 0 and gap.p_value is not None and gap.p_value < 0.05
    assert gap.se < interval(said, label, group, "accuracy").se
    back = paired_interval(worse, said, label, group, "accuracy")
    assert (back.low, back.high) == pytest.approx((-gap.high, -gap.low))
    assert back.p_value == pytest.approx(gap.p_value)


@pytest.mark.parametrize("metric", METRICS)
def test_models_that_never_differ_may_differ_on_the_next_speaker_by_a_row_or_so(metric):
    """As if one row had been answered otherwise: on two speakers little is ruled out."""
    label, group = np.arange(40) % 4, np.arange(40) // 20
    found = paired_interval(label, label, label, group, metric)
    assert (found.value, found.se, found.p_value) == (0.0, 0.0, 1.0)
    variance = PRIOR * (1 + 19 * ALIKE_PAIRED) / 40**2 / (PRIOR + 1)
    half = stats.t.ppf(0.975, PRIOR + 1) * math.sqrt(variance)
    assert (found.low, found.high) == (pytest.approx(-half), pytest.approx(half))
    many = np.tile(label, 50)
    closer = paired_interval(many, many, many, np.arange(2000) // 20, metric)
    assert 0 < closer.high < 0.002


def test_a_model_is_no_different_from_itself_on_any_rows():
    rng = np.random.default_rng(0)
    probs, truth = rng.dirichlet(np.ones(3), 40), rng.integers(0, 3, 40)
    group = np.arange(40) // 20
    several = multi_sums(probs, np.eye(3)[truth])
    for gap in (
        paired_interval(probs, probs.copy(), truth, group),
        of_sums(several, multi_sums(probs.copy(), np.eye(3)[truth]), group)["macro_f1"],
    ):
        assert (gap.value, gap.low, gap.high, gap.p_value) == (0.0, 0.0, 0.0, 1.0)
    near = np.where(probs == probs.max(1, keepdims=True), probs + 1e-6, probs)  # another model
    gap = paired_interval(probs, near, truth, group)
    assert gap.value == 0.0 and gap.low < 0 < gap.high


def test_a_difference_and_its_p_value_agree_on_what_is_shown():
    rng = np.random.default_rng(3)
    for _ in range(40):
        label, group = rng.integers(0, 3, 90), np.arange(90) // 18
        one, other = (np.where(rng.random(90) < p, label, 0) for p in (0.75, 0.6))
        for gap in intervals([one, other], label, group).values():
            assert (gap.low > 0 or gap.high < 0) == (gap.p_value is not None and gap.p_value < 0.05)


def test_several_labels_and_values_get_the_same_kind_of_interval():
    rng = np.random.default_rng(0)
    truth, group = (rng.random((60, 3)) < 0.4).astype(float), np.arange(60) // 10
    truth[:, 2] = group < 2  # of two groups alone
    perfect = of_sums(multi_sums(truth, truth), None, group)
    for name in ("macro_f1", "micro_f1"):
        found = perfect[name]
        assert (found.value, found.high, found.se) == (1.0, 1.0, 0.0)
        assert 0.4 < found.low < 0.95
    value = rng.normal(size=(60, 2))
    said = value + rng.normal(0, 0.5, value.shape)
    found = of_sums(affect_sums(said, value), None, np.arange(60) % 2)
    for name in ("ccc", "valence_ccc", "arousal_ccc"):
        assert -1 < found[name].low < found[name].value < found[name].high < 1
        assert found[name].units == 2
    exact = of_sums(affect_sums(value, value), None, group)["ccc"]
    assert (exact.value, exact.low, exact.high) == pytest.approx((1.0, 1.0, 1.0))


def test_tables_without_a_class_leave_it_out_only_where_others_have_it():
    table = np.zeros((3, 3))
    table[0, 0] = table[1, 1] = 5
    assert float(metrics_from_confusion(table)["uar"]) == pytest.approx(2 / 3)
    known = np.array([True, True, True])
    assert float(metrics_from_confusion(table, known)["uar"]) == 1.0
    assert float(metrics_from_confusion(table, np.array([True, True, False]))["uar"]) == (
        pytest.approx(2 / 3)
    )


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Speakers of unequal skill are drawn 400 times; nominal 95, asked for at least 88 %."""
    rng = np.random.default_rng(0)
    skill = rng.beta(6, 2, 400)
    for groups in (2, 3, 5, 8):
        held = 0
        for _ in range(400):
            label = rng.integers(0, 3, 40 * groups)
            group = np.repeat(np.arange(groups), 40)
            right = rng.random(40 * groups) < rng.choice(skill, groups)[group]
            said = np.where(right, label, (label + 1) % 3)
            low, high, _ = interval(said, label, group, "accuracy")
            held += low <= skill.mean() <= high
        assert held / 400 > 0.88
