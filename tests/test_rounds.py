"""The laws of the rounds: gold stays, zero rounds is supervised, the gate says no to poison."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_dataset import tiny_config, tiny_dataset

import semi.self_training.rounds as rounds
from models.fusion import ContrastConfig
from pseudo_label import SelectionConfig
from semi.config.task import TaskConfig
from semi.config.training import RoundsConfig, TrainConfig, VoteConfig
from semi.self_training.gate import information
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


def learned(labels, rows, classes, weight=1.0):
    """What a round learned of some rows."""
    chosen = rows.expand(2, -1)
    return rounds.PseudoLabels(
        chosen, labels.expand(2, -1), chosen * weight, torch.zeros(len(labels), classes),
        torch.zeros(classes), torch.zeros(len(labels), dtype=torch.int8), [{}, {}],
    )  # fmt: skip


def test_agreement_is_the_kappa_of_scikit_learn_where_all_rows_are_learned():
    from sklearn.metrics import cohen_kappa_score

    dataset, config = tiny_dataset(), tiny_config()
    classes, pool = len(dataset.classes), len(dataset.pool)
    generator = torch.Generator().manual_seed(0)
    one = torch.randint(classes, (pool,), generator=generator)
    two = torch.where(torch.rand(pool, generator=generator) < 0.5, one, one.roll(1))
    every = torch.ones(pool, dtype=torch.bool)
    start = one
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
    start, few = answers, torch.arange(pool) < 6
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
