"""Settings and pools that no selection can be made of, each refused in a sentence."""

from dataclasses import replace

import pytest
import torch
from selection_pools import make_pool

from pseudo_label import Gold, Pool, SelectionConfig, select


@pytest.mark.parametrize(
    "change, sentence",
    [
        (
            {"rule": "class_topc"},
            "rule must be one of .*got 'class_topc'; did you mean 'class_topk'",
        ),
        ({"targets": "firm"}, "targets must be one of rule, hard, soft, sharpened, got 'firm'"),
        ({"coverage": [0.3, 1.3]}, r"coverage must be in \(0, 1\], got 1.3"),
        ({"coverage": []}, "coverage must hold at least one value"),
        ({"per_class": {"joy": 1.5}}, r"per_class must be in \[0, 1\], got 1.5"),
        ({"precision_target": 1.0}, r"precision_target must be in \(0, 1\), got 1.0"),
        ({"temporal": 1.0}, r"temporal must be in \[0, 1\), got 1.0"),
        ({"mass_cap": 0.0}, "mass_cap must be positive, got 0.0"),
    ],
)
def test_a_wrong_setting_is_named(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        SelectionConfig(**change)


def test_what_a_rule_needs_and_lacks_is_named():
    bare = Pool(probs=make_pool().probs, prior=make_pool().prior, tie=make_pool().tie)
    needs = {
        "ups": "needs pool.members",
        "external": "needs pool.external",
        "adamatch": "pool.gold is missing",
        "dash": "pool.gold is missing",
        "label_propagation": "needs pool.features",
    }
    for rule, sentence in needs.items():
        with pytest.raises(ValueError, match=sentence):
            select(bare, SelectionConfig(rule=rule))
    with pytest.raises(ValueError, match="precision_target needs out-of-fold gold"):
        select(bare, SelectionConfig(precision_target=0.8))
    with pytest.raises(ValueError, match="prior 'em' needs out-of-fold gold"):
        select(bare, SelectionConfig(prior="em"))


def test_broken_probabilities_are_refused_with_the_row():
    pool = make_pool()
    pool.probs[7] = float("nan")
    with pytest.raises(ValueError, match=r"1 of \d+ are not, the first is row 7"):
        select(pool, SelectionConfig())
    with pytest.raises(ValueError, match=r"tie must have shape \(300\), got \(10,\)"):
        make_pool(tie=torch.arange(10))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probs": torch.rand(5)}, r"probs must have shape \(N, C\), got \(5,\)"),
        ({"probs": torch.full((300, 4), torch.nan)}, "probs must be finite"),
        ({"probs": torch.full((300, 4), torch.inf)}, "probs must be finite"),
        ({"prior": torch.rand(3)}, r"prior must have shape \(4\), got \(3,\)"),
        ({"tie": torch.arange(299)}, r"tie must have shape \(300\), got \(299,\)"),
        ({"assumed": 0.3}, "assumed must be a tensor, got 0.3"),
        ({"assumed": torch.rand(5)}, r"assumed must have shape \(4\), got \(5,\)"),
        ({"features": torch.rand(2, 6)}, r"features must have shape \(300, any\), got \(2, 6\)"),
        ({"group": torch.zeros(1)}, r"group must have shape \(300\), got \(1,\)"),
        ({"members": torch.rand(3, 300, 5)}, r"members must have shape \(any, 300, 4\)"),
        ({"present": torch.ones(300, 3)}, r"present must have shape \(300, 2\), got \(300, 3\)"),
        ({"classes": ["a", "b"]}, "classes has 2 names for 4 columns"),
        ({"rate": 0.0}, r"rate must be in \(0, 1\], got 0.0"),
        ({"rate": 1.1}, r"rate must be in \(0, 1\], got 1.1"),
        (
            {"gold": Gold(torch.rand(7, 4), torch.zeros(8).long())},
            r"gold.probs must have shape \(8, 4\), got \(7, 4\)",
        ),
        (
            {"gold": Gold(torch.rand(8, 4), torch.zeros(8).long(), group=torch.zeros(9))},
            r"gold.group must have shape \(8\), got \(9,\)",
        ),
    ],
)
def test_a_pool_whose_fields_do_not_fit_is_refused_in_one_sentence(change, message):
    with pytest.raises(ValueError, match=message):
        replace(make_pool(), **change)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"probs": torch.full((300, 4), 0.5)}, "each row of probs must sum to 1, got a sum of 2"),
        ({"probs": torch.tensor([[1.5, -0.5, 0, 0]]).expand(300, 4)}, "probs must not be negative"),
        ({"probs": torch.ones(300, 4).long()}, "probs must be floating point numbers, got torch.i"),
        (
            {"prior": torch.tensor([30.0, 10, 5, 5])},
            "prior must sum to 1, got a sum of 50",
        ),
        ({"prior": None}, "prior must be a tensor, got None"),
        ({"assumed": torch.tensor([1.0, 0, 0, torch.nan])}, "assumed must be finite"),
        ({"tie": torch.rand(300)}, r"tie must be whole numbers \(int64\), got torch.float32"),
        ({"group": torch.rand(300)}, "group must be whole numbers"),
        (
            {"eligible": torch.ones(300)},
            r"eligible must be true or false \(bool\), got torch",
        ),
        ({"rate": 30}, r"rate must be in \(0, 1\], got 30"),
        ({"rate": None}, r"rate must be in \(0, 1\], got None"),
        ({"rate": True}, r"rate must be in \(0, 1\], got True"),
        ({"round": 0}, "round must be a whole number from 1 on, got 0"),
        (
            {"gold": Gold(torch.full((8, 4), 0.25), torch.full((8,), -1))},
            r"gold.label must be in 0..3, got -1..-1; rows without a label are no gold",
        ),
        (
            {"gold": Gold(torch.full((8, 4), 0.25), torch.full((8,), 4))},
            r"gold.label must be in 0..3, got 4..4",
        ),
        (
            {"gold": Gold(torch.full((8, 4), 1.0), torch.zeros(8).long())},
            "each row of gold.probs must sum to 1, got a sum of 4; apply softmax to logits",
        ),
    ],
)
def test_a_pool_of_impossible_values_is_refused_in_one_sentence(change, message):
    with pytest.raises(ValueError, match=message):
        replace(make_pool(), **change)


def test_probabilities_of_16_bits_are_near_enough_to_one():
    probs = torch.rand(300, 4).softmax(1).half()
    assert len(make_pool(probs=probs)) == 300
