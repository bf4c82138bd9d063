"""The gate of the rounds: metric, information and agreement, and what it throws away."""

import dataclasses

import numpy as np
import pytest
import torch
from tiny_dataset import tiny_config, tiny_dataset

import semi.self_training.rounds as rounds
from semi.config.task import TaskConfig
from semi.config.training import RoundsConfig, TrainConfig
from semi.self_training.gate import information
from semi.self_training.rounds import run_rounds


def poisoned(monkeypatch):
    """Makes every selection name a wrong class for all rows."""
    honest = rounds.choose

    def wrong(dataset, state, config, rate, number):
        pseudo_labels, _ = honest(dataset, state, config, 1.0, number)
        label = (dataset.label[dataset.pool] + 1) % len(dataset.classes)
        pseudo_labels.label[:] = label
        pseudo_labels.chosen[:] = True
        pseudo_labels.weight[:] = 2.0 / number  # not the same selection again
        target = torch.nn.functional.one_hot(label, len(dataset.classes)).float()
        return pseudo_labels, target.expand(len(pseudo_labels.label), -1, -1).clone()

    monkeypatch.setattr(rounds, "choose", wrong)


def test_a_poisoned_round_is_rolled_back_and_the_warm_start_ships(monkeypatch):
    dataset = tiny_dataset(spread=2.0)
    config = tiny_config(train=TrainConfig(steps=40, batch=16, members=1, folds=3))
    poisoned(monkeypatch)
    outcome = run_rounds(dataset, config)
    assert [s.accepted for s in outcome.states] == [True, False, False]
    assert outcome.stopped == "gate"
    assert outcome.final.number == 0
    assert outcome.states[2].coverage == outcome.states[1].coverage / 2  # halved, tried once more
    assert "rolled back: out-of-fold macro_f1" in outcome.states[1].verdict


@pytest.mark.parametrize(("keep", "number"), [("latest", 3), ("best", 1)])
def test_what_ships_is_never_below_the_warm_start_on_gold(keep, number):
    metrics = [(0.5, True), (0.7, True), (0.9, False), (0.6, True), (0.4, True)]
    states = [
        rounds.RoundState(i, None, None, None, 0.3, metric, 0.1, accepted=accepted)
        for i, (metric, accepted) in enumerate(metrics)
    ]
    dataset, config = tiny_dataset(), tiny_config(rounds=RoundsConfig(keep=keep))
    assert rounds.ships(dataset, states, config).number == number
    assert rounds.ships(dataset, [*states[:1], *states[-1:]], config).number == 0


def judged(metric, information):
    return rounds.RoundState(1, None, None, None, 0.3, metric, 0.1, information)


@pytest.mark.parametrize(
    ("metric", "information", "accepted", "why"),
    [
        (0.55, 0.9, True, "accepted: out-of-fold macro_f1 0.550 >= 0.500"),
        (0.45, 0.9, False, "rolled back: out-of-fold macro_f1 0.450 < 0.500"),
        (0.60, 0.3, False, "rolled back: 0.30 nats of information about gold out-of-fold, less"),
        (0.60, 0.7, False, "rolled back: 0.70 nats of information about gold out-of-fold, less"),
        (0.60, 0.8, True, "accepted"),
    ],
)
def test_the_gate_looks_at_the_metric_and_at_what_is_left_of_the_information(
    metric, information, accepted, why
):
    state = judged(metric, information)
    rounds.gate(state, judged(0.6, 1.0), tiny_config())
    assert state.accepted is accepted
    assert state.verdict.startswith(why)


def test_the_gate_looks_at_what_the_pool_is_called_too():
    state = judged(0.7, 1.0)
    state.agreement = 0.14
    rounds.gate(state, judged(0.6, 1.0), tiny_config())
    assert not state.accepted
    assert "agree with the warm start's answers by a kappa of 0.14, less than" in state.verdict
    state.agreement = 0.16
    rounds.gate(state, judged(0.6, 1.0), tiny_config())
    assert state.accepted


def learned(labels, rows, classes, weight=1.0):
    """What a round learned of some rows."""
    chosen = rows.expand(2, -1)
    return rounds.PseudoLabels(
        chosen, labels.expand(2, -1), chosen * weight, torch.zeros(len(labels), classes),
        torch.zeros(classes), torch.zeros(len(labels), dtype=torch.int8), [{}, {}],
    )  # fmt: skip


def that_says(answers):
    """A warm start that was asked about the pool already."""
    state = judged(0.6, 1.0)
    state.answers = answers
    return state


def test_no_pool_is_asked_where_agreement_is_not_looked_at():
    """Valence and arousal, several labels, and rounds that learned nothing need no answers."""
    dataset, start = tiny_dataset(), judged(0.6, 1.0)  # without models: to ask it is an error
    classes, pool = len(dataset.classes), len(dataset.pool)
    every, none = torch.ones(pool, dtype=torch.bool), torch.zeros(pool, dtype=torch.bool)
    labels = torch.zeros(pool, dtype=torch.long)
    for kind in ("affect", "multi_label"):
        config = tiny_config(task=TaskConfig(kind=kind))
        assert rounds.agreement(dataset, start, learned(labels, every, classes), config) is None
    assert rounds.agreement(dataset, start, learned(labels, none, classes), tiny_config()) is None
    with pytest.raises(RuntimeError, match="it has no models to ask"):
        rounds.agreement(dataset, start, learned(labels, every, classes), tiny_config())


def test_agreement_is_the_kappa_of_scikit_learn_where_all_rows_are_learned():
    from sklearn.metrics import cohen_kappa_score

    dataset, config = tiny_dataset(), tiny_config()
    classes, pool = len(dataset.classes), len(dataset.pool)
    generator = torch.Generator().manual_seed(0)
    one = torch.randint(classes, (pool,), generator=generator)
    two = torch.where(torch.rand(pool, generator=generator) < 0.5, one, one.roll(1))
    every = torch.ones(pool, dtype=torch.bool)
    start = that_says(one)
    found = rounds.agreement(dataset, start, learned(two, every, classes), config)
    assert found == pytest.approx(cohen_kappa_score(one, two), abs=1e-6)
    same = rounds.agreement(dataset, start, learned(one, every, classes), config)
    assert same == pytest.approx(1)
    wrong = rounds.agreement(dataset, start, learned((one + 1) % classes, every, classes), config)
    assert wrong < -0.2


def test_agreement_counts_what_was_learned_alone_and_by_its_weight():
    dataset, config = tiny_dataset(), tiny_config()
    classes, pool = len(dataset.classes), len(dataset.pool)
    answers = torch.arange(pool) % classes
    start, few = that_says(answers), torch.arange(pool) < 6
    labels = torch.where(few, answers, 0)
    assert rounds.agreement(dataset, start, learned(labels, few, classes), config) == pytest.approx(
        1
    )
    one_class = answers == 0  # certified rows of a single class are not "as by chance"
    found = rounds.agreement(dataset, start, learned(answers, one_class, classes), config)
    assert found == pytest.approx(1)
    half = torch.where(torch.arange(pool) % 2 == 0, answers, (answers + 1) % classes)
    trust = (torch.arange(pool) % 2 == 0) * 0.9 + 0.1
    every = torch.ones(pool, dtype=torch.bool)
    plain = rounds.agreement(dataset, start, learned(half, every, classes), config)
    trusted = rounds.agreement(dataset, start, learned(half, every, classes, trust), config)
    assert trusted > plain + 0.2
    assert rounds.agreement(dataset, start, None, config) is None
    affect = tiny_config(task=TaskConfig(kind="affect"))
    assert rounds.agreement(dataset, start, learned(answers, every, classes), affect) is None
    nothing = torch.zeros(pool, dtype=torch.bool)
    assert rounds.agreement(dataset, start, learned(answers, nothing, classes), config) is None


def test_a_round_that_shows_nothing_is_rolled_back_even_if_the_start_showed_nothing():
    state = judged(0.6, 0.0)
    rounds.gate(state, judged(0.6, 0.0), tiny_config())
    assert not state.accepted and "which is none" in state.verdict


def test_information_is_zero_for_class_shares_and_for_what_is_certain_of_wrong_classes():
    dataset = tiny_dataset()
    gold = dataset.target[dataset.gold]
    outputs = dataclasses.make_dataclass("Said", ["oof"])
    shares = gold.mean(0).expand_as(gold)
    assert information(dataset, outputs(shares)) == pytest.approx(0, abs=1e-6)
    assert information(dataset, outputs(gold)) == pytest.approx(np.log(3), abs=1e-4)
    assert information(dataset, outputs(gold.roll(1, 1))) == pytest.approx(0, abs=1e-6)
    sure = 0.97 * gold + 0.01  # right, but for a row in five, and far too sure of it
    sure[::5] = sure[::5].roll(1, 1)
    assert 0.2 < information(dataset, outputs(sure)) < np.log(3)
