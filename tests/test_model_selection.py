"""`recipe: auto` compares students where labels are many; gold out-of-fold decides."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.fusion.config import FusionConfig
from semi.config.learning import LearningConfig
from semi.config.recipes import resolved
from semi.config.training import RoundsConfig
from semi.self_training.model_selection import MIN_GOLD, for_trials, select_model, widest
from semi.training.dataset import Dataset

ROWS, DIMS = 400, 160


def dataset(gold: int, informative: int, seed: int = 0) -> Dataset:
    """Two classes told apart by one column: the first, loud one, or a quiet later one."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(ROWS) % 2
    loud = 3.0 / (1 + torch.arange(DIMS)) ** 0.5
    x = torch.randn(ROWS, DIMS, generator=generator) * loud
    x[:, informative] += (2 * label - 1) * 1.3 * loud[informative]
    target = torch.zeros(ROWS, 2)
    index = torch.arange(ROWS)
    target[:gold] = torch.nn.functional.one_hot(label[:gold], 2).float()
    none = index[:0]
    return Dataset(
        ids=index.numpy().astype(str),
        values={"x": x},
        present=torch.ones(ROWS, 1, dtype=torch.bool),
        target=target,
        label=label,
        gold=index[:gold],
        pool=index[gold:],
        dev=none,
        test=none,
        fold=index[:gold] // 2 % 5,
        group=(index.numpy() // 4).astype(str),
        classes=["a", "b"],
    )


def auto(data: Dataset, **more) -> LearningConfig:
    """The settings of recipe auto, two rounds."""
    config = LearningConfig(recipe="auto", rounds=RoundsConfig(max_rounds=2), **more)
    return resolved(config, len(data.gold), len(data.pool))[0]


def test_a_class_that_hides_beyond_fifty_components_is_found_by_more_of_them():
    data = dataset(200, informative=DIMS - 1)
    found = select_model(data, auto(data))
    assert found.config.model.components == 200
    assert found.sentence.endswith("160 components it is")  # all columns there are
    assert "compared on 200 gold rows out-of-fold" in found.sentence


def test_the_usual_student_stays_where_others_are_not_clearly_better():
    data = dataset(200, informative=0)
    found = select_model(data, auto(data))
    assert (found.config.model.kind, found.config.model.components) == ("contrastive_residual", 50)
    assert found.sentence.endswith("Gaussian classes on 50 components it is")


def test_the_student_by_steps_begins_at_the_solution_that_was_chosen():
    data = dataset(200, informative=DIMS - 1)
    config = auto(data)
    found = select_model(data, config).config.model
    assert (found.kind, found.linear) == ("contrastive_residual", "discriminant")
    linear = replace(config, model=replace(config.model, kind="discriminant"))
    same = select_model(data, linear).config.model
    assert (same.kind, same.components) == ("discriminant", found.components)


def test_labels_of_the_pool_play_no_part():
    data, other = dataset(200, DIMS - 1), dataset(200, DIMS - 1)
    other.label = torch.where(torch.arange(ROWS) < 200, other.label, 1 - other.label)
    assert select_model(data, auto(data)).sentence == select_model(other, auto(other)).sentence


def test_few_labels_compare_nothing():
    data = dataset(MIN_GOLD - 10, informative=DIMS - 1)
    config = auto(data)
    found = select_model(data, config)
    assert (found.config, found.sentence) == (config, "")
    assert widest(config, MIN_GOLD - 1) == 50 and widest(config, MIN_GOLD) == 200


@pytest.mark.parametrize("setting", [("kind", "logistic"), ("components", 60), ("shrinkage", 0.3)])
def test_a_student_that_the_user_chose_is_not_questioned(setting):
    data = dataset(200, informative=DIMS - 1)
    config = copy.deepcopy(auto(data))
    setattr(config.model, *setting)
    assert select_model(data, config).config is config
    config = auto(data)
    config.recipe = "none"
    assert select_model(data, config).config is config


def test_what_the_user_named_as_it_is_anyway_stays_too():
    data = dataset(200, informative=DIMS - 1)
    named = auto(data, given=["model.kind"], model=FusionConfig(kind="discriminant"))
    found = select_model(data, named)
    assert found.config.model.kind == "discriminant" and "logistic" not in found.sentence
    both = auto(data, given=["model.kind", "model.components"], model=named.model)
    assert select_model(data, both).config is both


def test_narrow_views_are_not_asked_for_more_components_than_they_have():
    data = dataset(200, informative=0)
    data.values = {"x": data.values["x"][:, :40]}
    assert "components +" not in select_model(data, auto(data)).sentence


def test_one_group_of_gold_rows_proves_nothing():
    data = dataset(200, informative=DIMS - 1)
    data.group = np.full(ROWS, "only")
    assert select_model(data, auto(data)).config.model.components == 50


def test_students_are_compared_on_some_of_a_large_pool_whatever_its_order(monkeypatch):
    monkeypatch.setattr("semi.self_training.model_selection.MOST", 50)
    data = dataset(200, informative=0)
    few = for_trials(data)
    assert len(few.pool) == 50 and len(few.gold) == 200
    other = replace(data, pool=data.pool.flip(0))
    assert set(for_trials(other).pool.tolist()) == set(few.pool.tolist())
    assert len(data.pool) > 50
