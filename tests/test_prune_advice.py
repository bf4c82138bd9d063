"""What `semi prune-report` advises of its measurements, and why."""

from dataclasses import replace

import numpy as np
import pytest

from models.encoders import SpeechConfig
from semi.experiments.pruning.advice import (
    GoldLabels,
    Row,
    advise,
    failures,
    length_buckets,
    tabulate,
)
from semi.experiments.pruning.fidelity import out_of_fold
from semi.experiments.pruning.measure import Measured
from semi.experiments.pruning.settings import settings


def row(name="merge, keep 0.7, layer 3", **changes):
    whole = Row(name, "prune", "merge", 0.7, 3, "all", 500, 30.0, 1.3, 0.7, 0.99, 0.97, 0.9, 0.99,
                0.98, 80.0, -0.2, -1.0, 0.6, "10 groups")  # fmt: skip
    return replace(whole, **changes)


def measured(n=500):
    return Measured([], np.zeros(0), np.zeros(0), np.ones(n), np.arange(n), [])


def table_of(*names_and_rows):
    every = settings(SpeechConfig(), 12, ["merge"], [0.7], [3])
    by = {s.name: s for s in every}
    full = row("un-pruned", kind="full", speedup=1.0, flops=1.0, change=0.0, change_low=0.0,
               change_high=0.0)  # fmt: skip
    rows = [full, *names_and_rows]
    return [by[r.setting] for r in rows], rows


def stop(layer=6, **changes):
    whole = row(f"stop after layer {layer}", kind="stop", layer=layer, flops=0.7,
                cosine=np.nan, cosine_p05=np.nan, agreement=0.9)  # fmt: skip
    return replace(whole, **changes)


def test_a_setting_that_passes_every_check_is_recommended_with_its_figures():
    advice = advise(*table_of(row(), stop(change=-4.0, change_high=-1.0)), measured())
    assert advice.kind == "prune"
    assert advice.sentences[0] == (
        "Prune: encoders.speech.pruning={method: merge, keep_rate: 0.7, layer: 3}"
    )
    assert "1.30 x as fast (30 s of sound per second)" in advice.sentences[1]
    assert "Stopping early at about the same cost (stop after layer 6" in advice.sentences[2]
    assert "meant for 500" not in str(advice)
    every, rows = table_of(row())
    rows[0] = replace(rows[0], utterances=60)
    assert "meant for 500 utterances; these are 60" in str(advise(every, rows, measured(60)))
    rows[0] = replace(rows[0], utterances=3)
    few = advise(every, rows, measured(3))
    assert few.kind == "nothing" and few.setting is None
    assert few.sentences[0].startswith("No advice: 3 utterances are too few, 30 are the least")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"cosine": 0.97}, "centred cosine 0.970 is below 0.98"),
        ({"cosine_p05": 0.9}, "5th percentile of the cosine 0.900 is below 0.95"),
        ({"overlap": 0.7}, "only 70 % of the nearest neighbours stay (80 % needed)"),
        ({"cka": 0.9}, "linear CKA 0.900 is below 0.98"),
        ({"agreement": 0.95}, "only 95.0 % of the predictions stay (97 % needed)"),
        ({"change": -3.0, "change_low": -5.0, "change_high": -1.0},
         "macro-F1 changes by -3.0 points [-5.0, -1.0] over 10 groups, which excludes 0"),
        ({"speedup": 1.02}, "measured speed is 1.02 x un-pruned (1.05 x needed"),
    ],
)  # fmt: skip
def test_one_failed_check_is_enough_against_pruning_and_is_named(changes, reason):
    assert failures([row()]) == []
    advice = advise(*table_of(row(**changes)), measured())
    assert advice.kind == "nothing"
    assert advice.sentences[0] == "Do not prune: none of 1 setting passes every check."
    assert reason in advice.sentences[1]


def test_a_length_bucket_can_fail_alone():
    short = row(bucket="up to 1.0 s", cosine=0.9)
    assert failures([row(), short]) == [
        "centred cosine 0.900 is below 0.98 on sounds of up to 1.0 s"
    ]


def test_stopping_early_is_advised_where_it_is_the_better_buy():
    advice = advise(*table_of(row(), stop(speedup=1.6, change=1.0)), measured())
    assert advice.kind == "stop"
    assert advice.sentences[0] == (
        "Stop earlier instead of pruning: encoders.speech.layers=[6]"
    )  # fmt: skip
    worse = stop(speedup=1.6, change=-3.0, change_high=-1.0)
    assert advise(*table_of(row(), worse), measured()).kind == "prune"
    advice = advise(*table_of(row(cosine=0.5), stop(speedup=1.6, change=1.0)), measured())
    assert advice.kind == "stop" and "Do not prune" in str(advice)


def test_without_labels_nothing_is_claimed_of_accuracy():
    blank = dict.fromkeys(("agreement", "macro_f1", "change", "change_low", "change_high"), np.nan)
    every, rows = table_of(row(**blank), stop(speedup=2.0, **blank))
    rows[0] = replace(rows[0], **blank)
    advice = advise(every, rows, measured())
    assert advice.kind == "prune"
    assert "nothing is known of macro-F1, and stopping early cannot be judged" in str(advice)


def test_lengths_fall_into_thirds():
    seconds = np.linspace(1, 10, 90)
    found = length_buckets(seconds)
    assert list(found) == ["all", "up to 4.0 s", "4.0 to 7.0 s", "over 7.0 s"]
    assert [int(here.sum()) for here in found.values()] == [90, 30, 30, 30]
    assert list(length_buckets(np.ones(90))) == ["all"]


def test_the_change_of_macro_f1_is_scikit_learns_difference():
    from sklearn.metrics import f1_score

    random = np.random.default_rng(0)
    label, fold, group = np.arange(60) % 3, np.arange(60) // 3 % 4, np.arange(60) // 3 % 8
    x = np.eye(3)[label] + random.normal(0, 0.9, (60, 3))
    y = x + random.normal(0, 0.9, (60, 3))
    every = settings(SpeechConfig(), 12, ["merge"], [0.7], [3])[:2]
    took = np.ones((2, 60))
    done = Measured([x, y], took, took, np.linspace(1, 2, 60), np.arange(60), [])
    rows = tabulate(every, done, GoldLabels(label, fold, group))
    whole = [r for r in rows if r.bucket == "all"]
    scores = [100 * f1_score(label, out_of_fold(v, label, fold), average="macro") for v in (x, y)]
    assert [r.macro_f1 for r in whole] == pytest.approx(scores)
    assert whole[1].change == pytest.approx(scores[1] - scores[0])
    assert whole[1].change_low < whole[1].change < whole[1].change_high
    assert whole[1].change_words().endswith("] over 8 groups")
    assert (whole[0].change_low, whole[0].change_high) == (0, 0)
    assert whole[0].agreement == 1 and whole[0].change == 0
