"""Every loss, contrast by class and mixup: what they learn, and which labels they never read."""

import dataclasses

import pytest
import torch
from task_settings import PLAIN, QUIET, settings
from tiny_dataset import tiny_dataset

from noise import draw_mix
from semi.config.training import LOSS_NAMES, TrainConfig
from semi.self_training.rounds import run_rounds
from semi.self_training.targets import targets_of
from semi.training.batches import StepRows, given_labels, mixed
from semi.training.fit import fit
from semi.training.initialisation import fresh_ensemble
from semi.training.losses import LOSSES, LossContext, binary_cross_entropy
from semi.training.steps import FitConfig


def test_the_losses_are_those_that_the_settings_name():
    assert tuple(LOSSES) == LOSS_NAMES


@pytest.mark.parametrize("name", [*LOSSES, "binary"])
def test_a_row_of_weight_0_has_no_influence_on_any_loss(name):
    loss = LOSSES.get(name, binary_cross_entropy)
    torch.manual_seed(0)
    logits, rows = torch.randn(6, 3), torch.tensor([1.0, 0.5, 1.0, 0.0, 2.0, 0.0])
    target = torch.nn.functional.one_hot(torch.tensor([0, 1, 2, 0, 1, 2]), 3).float()
    context = LossContext(torch.tensor([4.0, 2.0, 1.0]))
    other, moved = logits.clone(), target.clone()
    other[3], moved[5] = 9.0, torch.tensor([1.0, 0, 0])
    assert loss(logits, target, rows, context) == loss(other, moved, rows, context)
    assert loss(logits, target, rows, context) != loss(logits, target, rows.roll(1), context)


@pytest.mark.parametrize("name", LOSSES)
def test_each_loss_learns_separable_classes(name):
    dataset, config = tiny_dataset(spread=3.0), settings("single", loss=name, steps=80)
    assert run_rounds(dataset, config).final.metric > 0.8


def test_a_wrong_loss_is_refused_by_name():
    with pytest.raises(ValueError, match=r"loss must be one of cross_entropy, focal, soft_f1, lda"):
        TrainConfig(loss="hinge")


def test_contrast_by_class_reads_no_held_out_label():
    dataset, config = tiny_dataset(), settings("single", steps=3, head_weight=0.0)
    config.contrast = dataclasses.replace(PLAIN, intra=0.5, inter=0.5)
    targets = targets_of(dataset, None, None)
    held = dataset.gold[dataset.fold == 0]
    target = targets.target.clone()
    target[:, held] = target[:, held].roll(1, dims=2)
    spoilt = dataclasses.replace(targets, target=target)
    off = settings("single", steps=3, head_weight=0.0)
    before, after, without = (
        fit(
            fresh_ensemble(dataset, c, {}), given, FitConfig([c.train], QUIET, c.contrast), seed=0
        ).params
        for c, given in ((config, targets), (config, spoilt), (off, targets))
    )
    name = "encoders.first.0.weight"
    assert torch.equal(before[name][:2], after[name][:2])
    assert not torch.equal(before[name][2:], after[name][2:])
    assert not torch.equal(before[name], without[name])


def test_contrast_by_class_reads_no_pseudo_label():
    known = torch.tensor([[0, 2, 1, 1], [-1, 2, 1, 0]])
    assert given_labels(known, 2).tolist() == [[0, 2, -1, -1], [-1, 2, -1, -1]]


def test_mixup_blends_features_and_targets_alike_and_keeps_held_out_labels_out():
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(3))
    present = torch.ones(16, 1, dtype=torch.bool)
    present[3] = False
    target = torch.nn.functional.one_hot(torch.arange(8) % 4, 4).float().repeat(2, 1, 1)
    weight = torch.ones(2, 8)
    weight[0, :4] = 0  # held out of chain 0
    step = StepRows({"speech": torch.cat([x, 2 * x])}, present, target, weight, None)
    done = mixed(step, 1.0, torch.Generator().manual_seed(0))
    mix = draw_mix(8, 1.0, torch.Generator().manual_seed(0))
    alone = (mix.partner == 3) | (torch.arange(8) == 3)  # nothing to blend a missing row with
    share = torch.where(alone, 1.0, mix.share)[:, None]
    wanted = share * x + (1 - share) * x[mix.partner]
    torch.testing.assert_close(done.inputs["speech"], torch.cat([wanted, 2 * wanted]))
    torch.testing.assert_close(done.target, share * target + (1 - share) * target[:, mix.partner])
    kept = (mix.partner >= 4) | alone  # chain 0 may not learn from a blend with a held-out label
    kept[:4] = False
    assert (done.weight[0] > 0).tolist() == kept.tolist() and 0 < kept.sum() < 4
    assert (done.weight[1] == 1).all()


def test_mixup_trains():
    dataset, config = tiny_dataset(spread=3.0), settings("single")
    config.noise = dataclasses.replace(QUIET, mixup_alpha=0.4)
    assert run_rounds(dataset, config).final.metric > 0.8
