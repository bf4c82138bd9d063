"""Negative labels of rule ups: what marks them, what they weigh, and that training heeds them."""

import dataclasses
import math

import pytest
import torch
from tiny_dataset import tiny_config, tiny_dataset

from models.fusion import FusionConfig
from noise import NoiseConfig
from pseudo_label import SelectionConfig
from pseudo_label.rules.ups import UPSConfig, negative_weight
from semi.self_training.rounds import Chosen, choose, trained, warm_start
from semi.self_training.state import negatives
from semi.self_training.targets import targets_of
from semi.training.fit import fit
from semi.training.initialisation import fresh_ensemble
from semi.training.losses import negative_learning
from semi.training.steps import FitConfig

LOOSE = UPSConfig(tau_n=0.3, kappa_n=0.2)


def problem_and_round(**select):
    dataset, config = tiny_dataset(), tiny_config()
    config.select = SelectionConfig(rule="ups", ups=LOOSE, **select)
    state = warm_start(dataset, config, {})
    return dataset, config, state


def test_the_loss_equals_the_loop():
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 4, generator=draw, requires_grad=True)
    weight = torch.rand(5, 4, generator=draw) * (torch.rand(5, 4, generator=draw) < 0.5)
    loss = 0.0
    for p, row in zip(logits.softmax(1).tolist(), weight.tolist(), strict=True):
        loss += sum(-w * math.log(1 - q) for q, w in zip(p, row, strict=True))
    said = negative_learning(logits, weight)
    assert float(said.detach()) == pytest.approx(loss, rel=1e-5)
    said.backward()
    assert logits.grad is not None and bool(logits.grad.isfinite().all())
    sure = torch.tensor([[80.0, 0.0]])
    assert bool(negative_learning(sure, torch.ones(1, 2)).isfinite())


def test_a_row_weighs_one_whatever_the_number_of_its_negative_classes():
    mask = torch.tensor([[True, True, False], [False, False, False], [False, True, False]])
    assert negative_weight(mask).tolist() == [[0.5, 0.5, 0], [0, 0, 0], [0, 1, 0]]


def test_all_rows_together_weigh_at_most_the_cap_times_gold():
    dataset, mask = tiny_dataset(), torch.ones(100, 3, dtype=torch.bool)
    own = int((dataset.fold != 0).sum())  # gold rows that the first chain learns from
    weight = negatives(dataset, [mask, mask & False], 2.0)
    assert float(weight[0].sum()) == pytest.approx(2.0 * own) and float(weight[1].sum()) == 0
    assert negatives(dataset, [mask & False], 2.0) is None
    assert negatives(dataset, [None, mask], 2.0) is None


def test_only_rows_that_are_not_chosen_have_negative_labels_and_only_from_ups():
    dataset, config, state = problem_and_round()
    pseudo_labels, _ = choose(dataset, state, config, 0.5, 1)
    marked = pseudo_labels.negative.any(2)
    assert bool(marked.any()) and not bool((marked & pseudo_labels.chosen).any())
    config.select = SelectionConfig(rule="class_topk")
    assert choose(dataset, state, config, 0.5, 1)[0].negative is None


def test_linear_models_have_no_negative_labels():
    dataset, config = tiny_dataset(), tiny_config(model=FusionConfig(kind="logistic"))
    config.select = SelectionConfig(rule="ups", ups=LOOSE)
    from semi.training.students import learned_start

    state = warm_start(dataset, config, learned_start(dataset, config))
    assert choose(dataset, state, config, 0.5, 1)[0].negative is None


def test_rows_of_negative_labels_are_drawn_but_have_no_positive_weight():
    dataset, config, state = problem_and_round()
    pseudo_labels, target = choose(dataset, state, config, 0.5, 1)
    targets = targets_of(dataset, pseudo_labels, target)
    marked = (pseudo_labels.chosen | pseudo_labels.negative.any(2)).any(0)
    assert torch.equal(targets.pseudo, dataset.pool[marked])
    assert torch.equal(targets.weight[:, dataset.pool], pseudo_labels.weight)
    assert float(targets.negative[:, dataset.gold].sum()) == 0


@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_training_heeds_negative_labels(mixup):
    dataset, config, state = problem_and_round()
    pseudo_labels, target = choose(dataset, state, config, 0.5, 1)
    config.train = dataclasses.replace(config.train, steps=40)
    config.noise = NoiseConfig(mixup_alpha=mixup)
    pseudo_labels.weight = torch.zeros_like(
        pseudo_labels.weight
    )  # the positive ones would say otherwise
    never = torch.zeros_like(pseudo_labels.negative)
    never[:, :, 0] = 1.0  # "no row of the pool is of class 0", which is wrong for a third

    def said(negative):
        pseudo_labels.negative = negative
        targets = targets_of(dataset, pseudo_labels, target)
        model = fit(fresh_ensemble(dataset, config, {}), targets, FitConfig.of(config), seed=0)
        values = {m: v[dataset.pool] for m, v in dataset.values.items()}
        logits = model.predict_logits(values, dataset.present[dataset.pool]).fused
        return float(logits.softmax(-1)[..., 0].mean())

    assert said(never) < said(None) - 0.05


def test_a_round_of_ups_runs_and_says_what_it_lost():
    dataset, config, state = problem_and_round()
    chosen = Chosen(*choose(dataset, state, config, 0.5, 1), rate=0.5)
    seen = []
    trained(dataset, config, {}, 1, lambda step, parts: seen.append(parts), chosen)
    assert seen and all(parts["negative"] > 0 for parts in seen)
