"""The floor of labels alone, and the contrastive student that begins at a solved one."""

from dataclasses import replace

import pytest
import torch
from tiny_dataset import tiny_dataset

from models.fusion import FusionConfig, build_fusion
from semi.config.learning import LearningConfig
from semi.config.recipes import resolved
from semi.evaluation.text import floor_sentence
from semi.self_training.floor import LUCK, OWN, floor_of, plain_models, standing
from semi.self_training.gate import ships
from semi.self_training.pool_answers import pool_logits
from semi.self_training.record import round_record
from semi.self_training.rounds import run_rounds, trained, warm_start
from semi.training.students import learned_start
from semi.training.students.contrastive_residual import CHECK_EVERY


def auto(dataset, **sections):
    config = LearningConfig(recipe="auto", **sections)
    return resolved(config, len(dataset.gold), len(dataset.pool))[0]


def begun(dataset, config):
    return trained(dataset, config, learned_start(dataset, config), 0, None)


def test_the_warm_start_is_the_best_of_the_student_and_plain_models():
    data = tiny_dataset(spread=0.6)
    config = auto(data)
    own = begun(data, config)
    state, table = floor_of(data, config, own, learned_start(data, config))
    kinds = {plain.name for plain in plain_models(config)}
    assert {row["model"] for row in table} == {OWN} | kinds and len(table) == 3
    (start,) = (row for row in table if row["starts"])
    assert standing(data, state) == pytest.approx(start["standing"])
    most = max(row["standing"] for row in table)
    clear = most > standing(data, own) + LUCK / len(data.gold) ** 0.5
    assert start["standing"] == (most if clear else pytest.approx(standing(data, own)))
    assert (start["model"] == OWN) is not clear
    assert state.ensemble is not None and state.ensemble.dims == data.dims
    assert pool_logits(data, state).shape[2] == len(data.pool)


def test_round_zero_tells_its_floor_and_nothing_below_it_ships():
    data = tiny_dataset(spread=0.6)
    config = auto(data)
    outcome = run_rounds(data, config)
    start = outcome.states[0]
    record = round_record(data, start, config, "soft_allocation")
    assert record["floor"] == start.floor and len(start.floor) == 3
    said = floor_sentence([record])
    assert said.startswith("Floor, of gold labels alone, macro-F1 out-of-fold: own student ")
    assert "logistic regression" in said and floor_sentence([record | {"floor": []}]) == ""
    assert outcome.final.metric >= start.metric


def test_a_round_ships_only_if_it_is_clearly_above_the_floor():
    data = tiny_dataset(spread=0.5)
    config = auto(data)
    start = warm_start(data, config, learned_start(data, config))
    better = begun(data, config)
    better.number, better.metric = 1, start.metric
    wrong = torch.arange(len(data.gold)) % 2 == 0  # other rows are right: as good, with an error
    probs = start.outputs.oof.clone()
    probs[wrong] = probs[wrong].roll(1, 0)
    better.outputs = replace(better.outputs, oof=probs)
    assert ships(data, [start, better], config) is start
    plain = replace(config, rounds=replace(config.rounds, floor=False))
    assert ships(data, [start, better], plain) is better


def test_without_a_branch_the_contrastive_student_is_the_linear_model():
    torch.manual_seed(0)
    dims = {"speech": 6, "text": 5}
    linear = build_fusion(FusionConfig(kind="discriminant"), dims, 3)
    model = build_fusion(FusionConfig(kind="contrastive_residual"), dims, 3)
    for name, parameter in linear.named_parameters():
        parameter.data.normal_()
        dict(model.named_parameters())[name].data.copy_(parameter.data)
    inputs = {"speech": torch.randn(4, 6), "text": torch.randn(4, 5)}
    here = torch.tensor([[True, True], [True, False], [False, True], [True, True]])
    inputs["speech"][2] = torch.nan
    with torch.no_grad():
        one, other = linear.eval()(inputs, here), model.eval()(inputs, here)
    torch.testing.assert_close(one.logits, other.logits)
    torch.testing.assert_close(one.modality_logits["text"], other.modality_logits["text"])
    assert not other.logits.isnan().any()


def contrastive(data, **train):
    config = auto(data, model=FusionConfig(kind="contrastive_residual"))
    config = replace(config, rounds=replace(config.rounds, floor=False))
    return replace(config, train=replace(config.train, **train))


def crooked():
    """Two classes that no line parts: where two columns have one sign, and where they have not."""
    data = tiny_dataset(gold=240, pool=60, classes=2, views=1, spread=0.0)
    first, second = data.values["speech"][:, :2].mul_(2).T
    data.label[:] = (first * second > 0).long()
    data.target[data.gold] = torch.nn.functional.one_hot(data.label[data.gold], 2).float()
    return data


def test_steps_leave_the_axes_and_move_the_rest_where_gold_says_so():
    data = crooked()
    config = contrastive(data, steps=60, lr=0.02)
    learned = learned_start(data, config)
    state = trained(data, config, learned, 0, None)
    assert state.ensemble is not None
    params = state.ensemble.params
    torch.testing.assert_close(params["views.0.basis"][:1], learned["views.0.basis"])
    assert params["views.0.outer"].abs().sum() > 0


def test_steps_that_gold_does_not_like_are_taken_back():
    data = tiny_dataset(spread=1.0)
    config = contrastive(data, steps=40, lr=3.0)
    state = begun(data, config)
    linear = begun(data, replace(config, model=replace(config.model, kind="discriminant")))
    assert state.ensemble is not None and state.ensemble.params["views.0.outer"].abs().sum() == 0
    torch.testing.assert_close(state.outputs.oof, linear.outputs.oof, rtol=1e-4, atol=1e-5)


def test_training_ends_at_the_first_look_at_which_gold_is_no_less_surprised():
    data, done = tiny_dataset(spread=1.0), []
    config = contrastive(data, steps=40, lr=3.0)
    learned = learned_start(data, config)
    trained(data, config, learned, 0, lambda step, values: done.append(step))
    assert done == [0, CHECK_EVERY - 1]
    data = crooked()
    config = contrastive(data, steps=9, lr=0.02)
    done.clear()
    trained(data, config, learned_start(data, config), 0, lambda step, values: done.append(step))
    assert done == [0, 8]


def test_the_solution_it_starts_from_is_a_setting():
    data = tiny_dataset(spread=0.8)
    config = contrastive(data, lr=3.0)
    start = replace(config, model=replace(config.model, linear="logistic"))
    logistic = replace(config, model=replace(config.model, kind="logistic"))
    one, other = begun(data, start), begun(data, logistic)
    torch.testing.assert_close(one.outputs.oof, other.outputs.oof, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="linear must be one of discriminant, logistic"):
        FusionConfig(linear="ridge")
