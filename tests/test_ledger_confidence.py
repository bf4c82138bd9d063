"""The ledger's confidence is calibrated on the gold that its own round held out."""

import dataclasses

import pytest
import torch
from tiny_dataset import tiny_config, tiny_dataset

from semi.self_training.confidence import round_confidence, round_temperature
from semi.self_training.ledger import round_rows
from semi.self_training.record import round_record
from semi.self_training.rounds import run_rounds
from semi.self_training.tasks import TASKS


@pytest.fixture(scope="module")
def finished():
    dataset, config = tiny_dataset(spread=1.0), tiny_config()
    return dataset, config, run_rounds(dataset, config).states


def sure(state, dataset, share):
    """Returns the round as if its models were 99 % sure on gold, and right in `share` of rows."""
    gold = dataset.label[dataset.gold]
    wrong = torch.arange(len(gold)) >= share * len(gold)
    said = torch.where(wrong, (gold + 1) % 3, gold)
    oof = torch.full((len(gold), 3), 0.005).scatter_(1, said[:, None], 0.99)
    return dataclasses.replace(state, outputs=dataclasses.replace(state.outputs, oof=oof))


def test_models_that_are_too_sure_of_held_out_gold_make_labels_less_sure(finished):
    dataset, _, states = finished
    state = sure(states[1], dataset, 0.7)
    temperature = round_temperature(dataset, state)
    on_gold = (state.outputs.oof.log() / temperature).softmax(1).amax(1).mean()
    assert float(on_gold) == pytest.approx(0.7, abs=0.03)
    before, after = state.pseudo_labels.probs.amax(1), round_confidence(dataset, state)
    assert (after <= before + 1e-6).all()
    assert after.mean() - 1 / 3 < 0.8 * (before.mean() - 1 / 3)


def test_gold_that_is_all_right_makes_no_label_surer(finished):
    dataset, _, states = finished
    state = sure(states[1], dataset, 1.0)
    assert round_temperature(dataset, state) == 1.0
    seen = state.pseudo_labels.probs.amax(1)
    assert torch.allclose(round_confidence(dataset, state), seen, atol=1e-5)


def test_the_ledger_has_both_and_the_record_the_gap(finished):
    dataset, config, states = finished
    state, task = sure(states[1], dataset, 0.6), TASKS["single"]
    (ledger,) = round_rows(dataset, state, states[0], "class_topk", task)
    seen = ledger[[f"p_{name}" for name in dataset.classes]].max(axis=1)
    assert (ledger.confidence <= seen + 1e-5).all()
    assert ledger.confidence.tolist() == pytest.approx(
        round_confidence(dataset, state).tolist(), abs=1e-5
    )
    found = round_record(dataset, state, config, "class_topk")["confidence"]
    chosen = ledger.chosen
    assert found["calibrated"] == pytest.approx(ledger.confidence[chosen].mean(), abs=1e-4)
    assert found["as_seen"] == pytest.approx(seen[chosen].mean(), abs=1e-4)
    assert found["gap"] == pytest.approx(0.99 - 0.6, abs=0.02) and found["temperature"] > 1
    assert "confidence" not in round_record(dataset, states[0], config, "class_topk")
