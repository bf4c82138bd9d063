"""Scores by group: they equal scikit-learn's, and no group is called different by chance."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, recall_score

from semi.evaluation.by_group import GoldAnswers, correct, permuted, score_groups, scores_of
from semi.evaluation.metrics import affect_scores


def _answers(rng, speakers=12, rows=20, classes=4, right=0.6, spread=0.0):
    """Returns answers whose speakers differ in how often the model is right by `spread`."""
    unit = np.repeat(np.arange(speakers), rows)
    label = rng.integers(0, classes, len(unit))
    share = np.clip(right + spread * rng.standard_normal(speakers), 0.05, 0.95)
    said = np.where(
        rng.random(len(unit)) < share[unit],
        label,
        (label + rng.integers(1, classes, len(unit))) % classes,
    )
    return GoldAnswers(unit.astype(str), "speaker", label=label, decided=said)


def test_scores_are_means_over_the_classes_that_a_group_has():
    """A speaker who was never sad is not scored 0 in sadness."""
    answers = _answers(np.random.default_rng(0))
    rows = np.flatnonzero((answers.unit < "3") & (answers.label != 2))
    (found,) = score_groups(answers, [rows])
    label, said = answers.label[rows], answers.decided[rows]
    want = f1_score(label, said, average="macro", labels=[0, 1, 3], zero_division=0)
    assert found.scores["macro_f1"].value == pytest.approx(want)
    assert found.scores["uar"].value == pytest.approx(
        recall_score(label, said, average="macro", labels=[0, 1, 3], zero_division=0)
    )
    assert found.scores["waf"].value == pytest.approx(
        f1_score(label, said, average="weighted", zero_division=0)
    )
    assert found.scores["macro_f1"].low < want < found.scores["macro_f1"].high


def test_the_rest_is_compared_in_common_classes():
    """The difference is of scores over the classes that both have, on rows of these."""
    answers = _answers(np.random.default_rng(1))
    inside = np.isin(answers.unit, ["0", "1", "2", "3"]) & (answers.label != 2)
    (found,) = score_groups(answers, [np.flatnonzero(inside)])
    rest = ~inside & (answers.label != 2)
    parts = [
        f1_score(answers.label[r], answers.decided[r], average="macro", labels=[0, 1, 3])
        for r in (inside, rest)
    ]
    assert found.difference is not None
    assert found.difference.value == pytest.approx(parts[0] - parts[1])
    assert found.rest_rows == (~inside).sum()


def test_whole_speakers_are_dealt_out_in_all_ways():
    """Of six speakers two in the group: 15 ways, and p is the share at least as far apart."""
    hits = np.array([9.0, 8, 4, 5, 3, 6])
    sums = np.stack([hits, np.full(6, 10.0)], 1)
    p, least = permuted(
        lambda s: s[:, 0] / s[:, 1], sums, np.array([True, True, False, False, False, False])
    )
    assert (p, least) == (pytest.approx(1 / 15), pytest.approx(1 / 15))
    p, least = permuted(
        lambda s: s[:, 0] / s[:, 1], sums, np.array([True, True, False, False, False, True])
    )
    assert (p, least) == (pytest.approx(2 / 20), pytest.approx(2 / 20))


def test_speakers_that_differ_are_no_difference_between_groups():
    """Rows of a speaker count as one: groups drawn at random come out apart at most as often as
    5 % says, where rows taken for independent would come out apart in a third of draws."""
    rng, apart, draws = np.random.default_rng(2), 0, 120
    for _ in range(draws):
        answers = _answers(rng, rows=30, spread=0.2)
        women = rng.permutation(12)[:6].astype(str)
        (found,) = score_groups(answers, [np.flatnonzero(np.isin(answers.unit, women))])
        apart += found.p_value <= 0.05
    assert apart / draws < 0.1


def test_sessions_within_speakers_are_paired():
    """Each speaker's own level plays no part; what goes with the session of a speaker does."""
    rng, apart, draws = np.random.default_rng(3), 0, 120
    for _ in range(draws):
        answers = _answers(rng, spread=0.2)
        second = np.tile(np.repeat([False, True], 10), 12)
        (found,) = score_groups(answers, [np.flatnonzero(second)])
        assert found.least_p == 0
        apart += found.p_value <= 0.05
    assert apart / draws < 0.1
    answers.decided[second] = (answers.label[second] + 1) % 4
    (found,) = score_groups(answers, [np.flatnonzero(second)])
    assert found.p_value < 0.001 and found.difference.high < 0


def test_a_group_that_is_worse_is_found():
    """Six of twelve speakers whose labels are mostly missed: p is one of 924 ways, doubled."""
    answers = _answers(np.random.default_rng(4), right=0.8)
    bad = answers.unit.astype(int) < 6
    answers.decided[bad] = (answers.label[bad] + (np.arange(bad.sum()) % 4 > 0)) % 4
    groups = score_groups(answers, [np.flatnonzero(bad), np.flatnonzero(~bad)])
    assert correct([groups]) == 1  # each is the other's rest: one test
    assert groups[0].p_holm == groups[1].p_holm == pytest.approx(2 / 924)
    assert groups[0].difference.high < 0 < groups[1].difference.low


def test_small_groups_have_their_count_alone():
    """Nine rows have neither interval nor test, and the reason is told."""
    answers = _answers(np.random.default_rng(5))
    found, other = score_groups(answers, [np.arange(9), np.arange(9, 240)])
    assert found.rows == 9 and found.small and found.p_value is None
    assert np.isnan(found.scores["macro_f1"].low)
    assert found.why_not == "fewer than 10 rows"
    assert other.why_not == "fewer than 10 other rows" and other.difference is None


def test_one_speaker_on_a_side_has_no_interval_of_the_difference():
    """Nothing tells how far another speaker of that kind would be."""
    answers = _answers(np.random.default_rng(6))
    (found,) = score_groups(answers, [np.flatnonzero(answers.unit == "0")])
    assert np.isnan(found.difference.low) and found.least_p == pytest.approx(1 / 12)
    assert found.p_value >= found.least_p


def test_valence_and_arousal_by_group():
    """CCC of the group's rows, held against the rest."""
    rng = np.random.default_rng(7)
    truth = rng.standard_normal((240, 2))
    truth[::7, 0] = np.nan
    said = np.nan_to_num(truth) + 0.5 * rng.standard_normal((240, 2))
    bad = np.repeat(np.arange(12), 20) < 5
    said[bad] = rng.standard_normal((bad.sum(), 2))
    unit = np.repeat(np.arange(12), 20).astype(str)
    answers = GoldAnswers(unit, "speaker", affect=said, affect_truth=truth)
    (found,) = score_groups(answers, [np.flatnonzero(bad)])
    want = [affect_scores(said[bad, i], truth[bad, i])["ccc"] for i in range(2)]
    assert found.scores["ccc"].value == pytest.approx(np.mean(want))
    assert found.scores["valence_ccc"].value == pytest.approx(want[0])
    assert found.p_value == pytest.approx(1 / 792)
    assert found.difference.value < -0.5
    answers.affect_truth = np.full((240, 2), np.nan)
    assert np.isnan(scores_of(answers)["ccc"].value)


def test_several_labels_by_group():
    """Macro-F1 over the labels that the group has."""
    rng = np.random.default_rng(8)
    truth = (rng.random((240, 4)) < 0.4).astype(float)
    truth[:100, 3] = 0
    probs = np.clip(truth * 0.6 + 0.5 * rng.random((240, 4)), 0, 1)
    unit = np.repeat(np.arange(12), 20).astype(str)
    answers = GoldAnswers(unit, "speaker", several=truth, probs=probs)
    (found,) = score_groups(answers, [np.arange(100)])
    want = f1_score(truth[:100, :3], probs[:100, :3] >= 0.5, average="macro")
    assert found.scores["macro_f1"].value == pytest.approx(want)
    parts = [
        f1_score(truth[r, :3], probs[r, :3] >= 0.5, average="macro")
        for r in (slice(100), slice(100, None))
    ]
    assert found.difference.value == pytest.approx(parts[0] - parts[1])


def test_holm_is_over_all_columns():
    """The smallest p counts as many times as there are tests, and none falls below an earlier."""
    answers = _answers(np.random.default_rng(9))
    groups = [score_groups(answers, [np.arange(k * 40, k * 40 + 40) for k in range(6)])] * 1
    for score, p in zip(groups[0], (0.01, 0.04, 0.03, 0.005, 0.5, 0.9), strict=True):
        score.p_value = p
    assert correct(groups) == 6
    assert [s.p_holm for s in groups[0]] == pytest.approx([0.05, 0.12, 0.12, 0.03, 1.0, 1.0])
