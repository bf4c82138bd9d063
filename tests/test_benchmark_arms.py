"""The arms of a benchmark: what they share, what poison does, what scikit-learn answers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_learning import tiny_dataset, tiny_learning

from semi.experiments.benchmark.arms import (
    Starts,
    poison,
    rounds_arm,
    shuffled_arm,
    sklearn_arm,
    supervised_arm,
)
from semi.self_training.rounds import choose, warm_start
from semi.training.views import Views, viewed


def test_arms_share_the_warm_start_and_only_that(monkeypatch):
    import semi.self_training.rounds as home

    calls = []
    real = home.warm_start
    monkeypatch.setattr(home, "warm_start", lambda *a: (calls.append(1), real(*a))[1])
    dataset, learning, starts = tiny_dataset(), tiny_learning(), Starts()
    for rule in ("class_topk", "margin"):
        learning.select.rule = rule
        rounds_arm(dataset, learning, starts)
    supervised_arm(dataset, learning, starts)
    assert len(calls) == 1
    learning.train.steps += 1
    supervised_arm(dataset, learning, starts)
    assert len(calls) == 2


def test_joined_layers_of_one_name_share_no_start():
    data, learning, starts = tiny_dataset(), tiny_learning(max_rounds=0), Starts()
    learning.model.kind, learning.recipe = "discriminant", "none"
    layers = {f"speech.{k}": data.values["speech"] * (-1.0) ** k for k in range(3)}
    whole = replace(data, values=layers, present=data.present[:, :1].expand(-1, 3))
    for parts in (["speech.0", "speech.1"], ["speech.1", "speech.2"]):  # equal shapes and names
        seen = viewed(whole, Views({"speech": parts}))
        alone = supervised_arm(seen, learning, Starts()).predicted
        assert np.array_equal(supervised_arm(seen, learning, starts).predicted, alone)


def test_poison_mislabels_every_chosen_row_and_keeps_everything_else():
    dataset, learning = tiny_dataset(), tiny_learning()
    state = warm_start(dataset, learning, {})
    clean, targets = choose(dataset, state, learning, 0.6, 1)
    bad, target = poison(dataset, state, learning, 0.6, 1)
    assert torch.equal(clean.chosen, bad.chosen) and torch.equal(clean.weight, bad.weight)
    assert torch.equal(clean.label != bad.label, clean.chosen)
    assert torch.equal(target.argmax(-1)[clean.chosen], bad.label[clean.chosen])
    assert torch.equal(target[~clean.chosen], targets[~clean.chosen])


def test_a_poisoned_round_is_rolled_back():
    dataset = tiny_dataset(gold=60, pool=90, spread=0.5, seed=1)
    learning = tiny_learning(steps=60, max_rounds=2)
    learning.train.lr = 0.01
    starts = Starts()
    said = shuffled_arm(dataset, learning, starts)
    assert said.facts["rounds"] > 0 and said.facts["shipped"] == 0
    supervised = supervised_arm(dataset, learning, starts)
    assert np.array_equal(said.predicted, supervised.predicted)


@pytest.mark.parametrize("kind", ["logistic", "self_training_0.7", "label_spreading"])
def test_scikit_learn_answers_for_the_test_rows(kind):
    dataset = tiny_dataset(spread=0.3)
    said = sklearn_arm(dataset, kind)
    assert (said.predicted == dataset.label[dataset.test].numpy()).mean() > 0.8
