"""Rounds end when the next one would learn the same again, or what gold has just refused."""

import dataclasses

import pytest
import torch
from tiny_dataset import tiny_config, tiny_dataset

from semi.config.training import RoundsConfig, TrainConfig
from semi.self_training.closing import ON_NEW_SPEAKERS, gains_of, sentence_of
from semi.self_training.rounds import choose, run_rounds
from semi.self_training.stopping import STOPPED, in_vain, same_selection


def fixed(label_of, weight=1.0):
    """Returns a choice of the whole pool under the same labels and weights every round."""

    def pick(dataset, state, config, rate, number):
        pseudo_labels, target = choose(dataset, state, config, 1.0, number)
        label = label_of(dataset)
        pseudo_labels.label[:], pseudo_labels.chosen[:] = label, True
        pseudo_labels.weight[:] = weight
        hard = torch.nn.functional.one_hot(label, len(dataset.classes)).float()
        return pseudo_labels, hard.expand_as(target).clone()

    return pick


def right(dataset):
    return dataset.label[dataset.pool]


def wrong(dataset):
    return (dataset.label[dataset.pool] + 1) % len(dataset.classes)


def settings(**changes):
    train = TrainConfig(steps=40, batch=16, members=1, folds=3)
    return tiny_config(train=train, rounds=RoundsConfig(max_rounds=5, min_change=0.0, **changes))


def test_a_selection_that_is_the_last_one_again_ends_the_run_as_converged():
    dataset, config = tiny_dataset(spread=2.0), settings()
    outcome = run_rounds(dataset, config, pick=fixed(right))
    assert outcome.stopped == "converged" and len(outcome.states) == 2
    assert outcome.final.number == 1
    told = sentence_of(outcome, "macro_f1", gains_of(dataset, config, *outcome.states))
    assert told.startswith(
        "1 of 1 round accepted; stopped: converged (the rows, labels and weights are those of the "
        "round before). Round 1 ships: macro-F1 out-of-fold "
    )


def test_without_held_out_rows_a_run_says_what_new_speakers_may_see_of_its_gain():
    dataset, config = tiny_dataset(spread=0.7), settings()
    dataset = dataclasses.replace(dataset, test=dataset.test[:0])
    outcome = run_rounds(dataset, config, pick=fixed(right))
    gains = gains_of(dataset, config, *outcome.states)
    gain = gains["oof"].difference.value
    assert gain > 0 and "test" not in gains
    assert f"such gains, so expect {100 * ON_NEW_SPEAKERS * gain:+.1f}." in sentence_of(
        outcome, "macro_f1", gains
    )


def test_a_refused_round_is_not_tried_again_as_it_was():
    """Half the coverage of a rule that takes the whole pool is the whole pool."""
    outcome = run_rounds(tiny_dataset(spread=2.0), settings(), pick=fixed(wrong))
    assert [s.accepted for s in outcome.states] == [True, False]
    assert outcome.stopped == "gate" and outcome.final.number == 0


@pytest.mark.parametrize(
    "change, same",
    [
        ({}, True),
        ({"weight": 1.001}, True),
        ({"weight": 1.1}, False),
        ({"label": 1}, False),
        ({"chosen": 1}, False),
    ],
)
def test_the_same_selection_has_the_same_rows_labels_and_nearly_the_same_weights(change, same):
    dataset, config = tiny_dataset(), settings()
    state = run_rounds(dataset, config, pick=fixed(right)).states[1]
    before = state.pseudo_labels
    now = dataclasses.replace(
        before, chosen=before.chosen.clone(), label=before.label.clone(),
        weight=before.weight * change.get("weight", 1.0),
    )  # fmt: skip
    if "label" in change:  # of one chain that does not ship
        now.label[0, 0] = (now.label[0, 0] + 1) % 3
    if "chosen" in change:
        now.chosen[0, 0] = False
    assert same_selection(now, before) == same
    assert in_vain(now, state, None, 0.0) == ("converged" if same else "")
    assert in_vain(now, state, state, 0.0) == ("gate" if same else "")


def test_every_reason_to_stop_is_told_in_words():
    assert set(STOPPED) == {"max_rounds", "all_labeled", "no_change", "converged", "gate"}
    assert all(words and not words.endswith(".") for words in STOPPED.values())
