"""The laws of the rounds: gold stays, zero rounds is supervised, no metric reads what is hidden."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_dataset import tiny_config, tiny_dataset

import semi.self_training.rounds as rounds
from models.fusion import ContrastConfig
from pseudo_label import SelectionConfig
from semi.config.training import RoundsConfig, VoteConfig
from semi.self_training.ledger import round_rows, write_round_ledger
from semi.self_training.merged_ledger import write_merged
from semi.self_training.record import round_record
from semi.self_training.rounds import run_rounds, warm_start
from semi.self_training.stopping import STOPPED
from semi.self_training.targets import targets_of
from semi.self_training.tasks import TASKS


def test_zero_rounds_equals_supervised_training():
    dataset = tiny_dataset()
    config = tiny_config(rounds=RoundsConfig(max_rounds=0))
    outcome = run_rounds(dataset, config)
    learned = rounds.learned_start(dataset, config)
    supervised = warm_start(dataset, config, learned)
    assert outcome.final.number == 0
    assert outcome.final.ensemble is not None and supervised.ensemble is not None
    for name, value in supervised.ensemble.params.items():
        assert torch.equal(value, outcome.final.ensemble.params[name])


def test_given_labels_never_change_and_only_pool_rows_are_added():
    dataset, config = tiny_dataset(), tiny_config()
    gold = dataset.target.clone()
    outcome = run_rounds(dataset, config)
    assert torch.equal(dataset.target, gold)
    assert outcome.stopped in STOPPED
    for state in outcome.states[1:]:
        assert state.pseudo_labels.chosen.shape == (dataset.folds + 1, len(dataset.pool))
        target = torch.ones(dataset.folds + 1, len(dataset.pool), 3) / 3
        targets = targets_of(dataset, state.pseudo_labels, target)
        assert set(targets.pseudo.tolist()) <= set(dataset.pool.tolist())
        assert targets.weight[:, dataset.test].sum() == 0
        assert torch.equal(targets.target[-1, dataset.gold], dataset.target[dataset.gold])


def test_no_metric_moves_when_hidden_gold_and_test_labels_do():
    dataset, config = tiny_dataset(), tiny_config()
    one = run_rounds(dataset, config)
    spoilt = dataclasses.replace(dataset, label=dataset.label.clone())
    spoilt.label[dataset.pool] = 0
    spoilt.label[dataset.test] = 0
    two = run_rounds(spoilt, config)
    assert [s.metric for s in one.states] == [s.metric for s in two.states]
    assert torch.equal(one.final.outputs.oof, two.final.outputs.oof)


def test_a_feature_that_gives_test_labels_away_changes_nothing_out_of_fold():
    dataset, config = tiny_dataset(), tiny_config(rounds=RoundsConfig(max_rounds=0))
    leaky = dataclasses.replace(dataset, values=dict(dataset.values))
    leaky.values["text"] = dataset.values["text"].clone()
    leaky.values["text"][dataset.test, 0] = dataset.label[dataset.test].float()
    assert run_rounds(leaky, config).final.metric == run_rounds(dataset, config).final.metric


def test_pseudo_labels_of_a_fold_come_from_models_that_never_saw_its_gold():
    dataset, config = tiny_dataset(), tiny_config()
    config.train = dataclasses.replace(config.train, imbalance="none")
    config.contrast.pretrain_steps = 0
    config.vote = VoteConfig(method="fused", calibration="none")
    held = dataset.gold[dataset.fold == 0]
    spoilt = dataclasses.replace(
        dataset, target=dataset.target.clone(), label=dataset.label.clone()
    )
    spoilt.target[held] = dataset.target[held].roll(1, dims=1)
    spoilt.label[held] = spoilt.target[held].argmax(1)
    one, two = (run_rounds(p, config).states[1].pseudo_labels for p in (dataset, spoilt))
    assert torch.equal(one.label[0], two.label[0])
    assert torch.equal(one.chosen[0], two.chosen[0])
    assert not torch.equal(one.label[-1], two.label[-1])


def test_nothing_confident_enough_stops_with_no_change():
    config = tiny_config(select=SelectionConfig(rule="threshold", threshold=0.9999))
    outcome = run_rounds(tiny_dataset(spread=0.1), config)
    assert (outcome.stopped, outcome.final.number) == ("no_change", 0)


def test_an_empty_pool_is_supervised_training():
    dataset = tiny_dataset()
    dataset = dataclasses.replace(dataset, pool=dataset.pool[:0])
    outcome = run_rounds(dataset, tiny_config())
    assert (outcome.stopped, len(outcome.states)) == ("all_labeled", 1)


@pytest.mark.parametrize("views", [1, 2])
def test_rows_with_a_missing_modality_take_part(views):
    dataset = tiny_dataset(views=views)
    if views == 2:
        dataset.present[::3, 1] = False
        dataset.values["text"][::3] = float("nan")
    outcome = run_rounds(dataset, tiny_config())
    assert all(np.isfinite(s.metric) for s in outcome.states)
    assert torch.isfinite(outcome.final.outputs.oof).all()


def test_votes_with_fixed_weights_are_those_of_the_configuration():
    dataset = tiny_dataset()
    config = tiny_config(vote=VoteConfig(method="fixed", weights={"speech": 0.7, "fused": 0.7}))
    voter = warm_start(dataset, config, {}).outputs.voter
    assert dict(zip(voter.heads, voter.weights.tolist(), strict=True)) == {
        "fused": 0.5, "speech": 0.5, "text": 0.0
    }  # fmt: skip
    config.vote = VoteConfig(method="fixed", weights={"sound": 1.0})
    with pytest.raises(ValueError, match=r"vote\.weights names sound, but the heads are fused, sp"):
        warm_start(dataset, config, {})


def test_ledger_has_one_row_per_utterance_and_round_and_keeps_its_history(tmp_path):
    dataset, config = tiny_dataset(), tiny_config()
    outcome = run_rounds(dataset, config)
    parts, before = [], outcome.states[0]
    for state in outcome.states[1:]:
        parts.append(tmp_path / f"{state.number}.parquet")
        rows = round_rows(dataset, state, before, "class_topk", TASKS["single"])
        write_round_ledger(parts[-1], rows)
        before = state if state.accepted else before
    write_merged(parts, tmp_path, len(dataset.pool), as_csv=False)
    ledger = pd.read_parquet(tmp_path / "ledger.parquet")
    assert len(ledger) == len(parts) * len(dataset.pool)
    assert not ledger.duplicated(["id", "round"]).any()
    probs = ledger[[f"p_{c}" for c in dataset.classes]].to_numpy()
    np.testing.assert_allclose(probs.sum(1), 1, atol=1e-4)
    assert (ledger.loc[~ledger["chosen"], "weight"] == 0).all()
    assert (
        ledger.loc[ledger["accepted"], "last_round"] == ledger["round"][ledger["accepted"]]
    ).all()
    never = ledger["first_round"] == -1
    assert not ledger.loc[never, "accepted"].any()
    assert {"vote_speech", "vote_text", "reason", "threshold", "flips"} <= set(ledger.columns)


def test_a_round_record_measures_gold_rows_only():
    dataset, config = tiny_dataset(), tiny_config()
    outcome = run_rounds(dataset, config)
    for state in outcome.states:
        record = round_record(dataset, state, config, "class_topk")
        assert record["metrics_oof"]["rows"] == len(dataset.gold)
        assert record["metrics_dev"] is None
        if state.ensemble is not None:
            assert record["metrics_test"]["rows"] == len(dataset.test)
    assert record["pseudo"]["checked"] == record["added"]


def test_one_modality_without_noisy_twins_has_nothing_to_pre_train():
    dataset = tiny_dataset()
    first = next(iter(dataset.values))
    dataset.values = {first: dataset.values[first]}
    dataset.present = dataset.present[:, :1]
    config = tiny_config(contrast=ContrastConfig(noise=False, pretrain_steps=4))
    assert rounds.learned_start(dataset, config) == {}
    assert run_rounds(dataset, config).states[0].accepted
    config.contrast = ContrastConfig(pretrain_steps=4, pretrain_batch=32)
    assert rounds.learned_start(dataset, config)
