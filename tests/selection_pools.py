"""Pools of teacher outputs for the tests of selection rules, and what a whole selection is."""

from dataclasses import replace

import torch

from pseudo_label import REASONS, Gold, Pool

CLASSES = ["anger", "calm", "fear", "joy"]


def probabilities(*shape, generator, sharpness=2.0):
    return (sharpness * torch.randn(*shape, generator=generator)).softmax(-1)


def make_pool(rows=300, classes=4, gold=120, seed=0, **change):
    """A pool with every kind of view, confidences that mean something, skewed classes."""
    g = torch.Generator().manual_seed(seed)
    truth = torch.randint(0, classes, (gold,), generator=g)
    gold_probs = probabilities(gold, classes, generator=g)
    gold_probs = (gold_probs + 1.5 * torch.nn.functional.one_hot(truth, classes)) / 2.5
    values = {
        "probs": probabilities(rows, classes, generator=g),
        "prior": (torch.arange(classes) + 1.0) / sum(range(classes + 1)),
        "tie": torch.randperm(max(rows, 1), generator=g)[:rows],
        "by_modality": probabilities(2, rows, classes, generator=g),
        "present": torch.rand(rows, 2, generator=g) < 0.8,
        "members": probabilities(3, rows, classes, generator=g, sharpness=1.0),
        "external": probabilities(1, rows, classes, generator=g),
        "features": torch.randn(rows, 6, generator=g),
        "group": torch.randint(-1, 4, (rows,), generator=g),
        "gold": Gold(
            probs=gold_probs,
            label=truth,
            by_modality=probabilities(2, gold, classes, generator=g),
            features=torch.randn(gold, 6, generator=g),
            group=torch.randint(0, 4, (gold,), generator=g),
        ),
        "rate": 0.3,
    }
    return Pool(**(values | change))


def permuted(pool, order):
    def rows(x, axis=0):
        return None if x is None else x.index_select(axis, order)

    return replace(
        pool,
        probs=rows(pool.probs),
        tie=rows(pool.tie),
        by_modality=rows(pool.by_modality, 1),
        present=rows(pool.present),
        members=rows(pool.members, 1),
        external=rows(pool.external, 1),
        features=rows(pool.features),
        group=rows(pool.group),
        eligible=rows(pool.eligible),
        state={},
    )


def assert_well_formed(selection, pool):
    rows, classes = pool.probs.shape
    assert selection.chosen.shape == (rows,) and selection.chosen.dtype == torch.bool
    assert selection.label.shape == (rows,) and selection.label.dtype == torch.int64
    assert selection.target.shape == (rows, classes)
    assert selection.threshold.shape == (classes,)
    assert selection.reason.dtype == torch.int8
    for x in (selection.target, selection.weight, selection.threshold):
        assert x.isfinite().all()
    assert (selection.weight[~selection.chosen] == 0).all()
    assert (selection.weight >= 0).all() and (selection.weight <= 1).all()
    assert torch.allclose(selection.target.sum(1), torch.ones(rows), atol=1e-5)
    assert ((selection.reason == 0) == selection.chosen).all()
    assert set(selection.words()) <= set(REASONS)
