import pytest
import torch
from tiny_learning import tiny_dataset, tiny_learning

from pseudo_label import RULES
from pseudo_label.alignment import em_prior
from semi.config.training import TrainConfig
from semi.self_training.pool import (
    GRAPH_DIMS,
    Pools,
    assumed_shares,
    graph_features,
    member_probs,
    needs_members,
)
from semi.self_training.pool_answers import pool_logits
from semi.self_training.rounds import run_rounds, warm_start
from semi.self_training.stopping import STOPPED


@pytest.fixture(scope="module")
def started():
    dataset, learning = tiny_dataset(), tiny_learning()
    return dataset, learning, warm_start(dataset, learning, {})


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_runs_through_a_whole_round(rule):
    dataset = tiny_dataset()
    if rule == "external":
        votes = torch.nn.functional.one_hot(dataset.label, 3).float()
        dataset.external = votes[None]
    learning = tiny_learning(rule=rule, threshold=0.3)
    outcome = run_rounds(dataset, learning)
    assert outcome.stopped in STOPPED
    if len(outcome.states) > 1:  # what was picked is a proper selection of pool rows
        pseudo_labels = outcome.states[1].pseudo_labels
        assert pseudo_labels.chosen.shape == (3, 60) and pseudo_labels.chosen[-1].any()
        assert ((pseudo_labels.weight > 0) <= pseudo_labels.chosen).all()


def test_the_external_rule_says_what_it_lacks():
    with pytest.raises(ValueError, match=r"rule 'external' needs pool.external"):
        run_rounds(tiny_dataset(), tiny_learning(rule="external"))


def test_members_average_to_what_their_chain_says():
    dataset, learning = tiny_dataset(), tiny_learning()
    learning.vote.calibration, learning.vote.method = "none", "fused"
    state = warm_start(dataset, learning, {})
    said = []
    for chain in range(3):
        members = member_probs(dataset, state.ensemble, state.outputs.voter, chain)
        assert members.shape == (2, 60, 3) and not torch.equal(members[0], members[1])
        said.append(members.mean(0))
    assert torch.allclose(torch.stack(said), pool_logits(dataset, state)[:, 0].exp(), atol=1e-5)


def test_a_chain_is_never_shown_the_gold_it_holds_out(started):
    dataset, learning, state = started
    learning.select.rule = "label_propagation"
    features = graph_features(dataset, learning.select)
    pools = Pools(dataset, state, learning, 0.3, 1)
    for chain in range(3):
        pool = pools.of(chain)
        kept = dataset.fold != chain
        assert len(pool.gold.label) == int(kept.sum())
        assert torch.equal(pool.gold.features, features[dataset.gold[kept]])
        assert torch.equal(pool.gold.probs, state.outputs.oof[kept])


def test_only_rules_that_compare_rows_get_features():
    dataset, learning = tiny_dataset(), tiny_learning(rule="class_topk")
    assert graph_features(dataset, learning.select) is None
    learning.select.rule = "label_propagation"
    assert graph_features(dataset, learning.select).shape == (114, 12)
    dataset.values["speech"] = torch.randn(114, 300)
    wide = graph_features(dataset, learning.select)
    assert wide.shape == (114, min(GRAPH_DIMS, 84))  # 84 training rows span no more


@pytest.mark.parametrize(
    "select, wanted",
    [
        ({"rule": "ups"}, True),
        ({"rule": "class_topk"}, False),
        ({"rule": "agreement"}, False),
        ({"rule": "agreement", "over": ["members"]}, True),
        ({"rule": "class_topk", "mode": "soft", "over": ["members"]}, True),
    ],
)
def test_members_are_asked_one_by_one_only_where_a_rule_looks_at_them(select, wanted):
    learning = tiny_learning(rule=select["rule"])
    learning.select.agreement.mode = select.get("mode", "off")
    learning.select.agreement.over = select.get("over", ["modalities"])
    assert needs_members(learning.select) is wanted


def test_class_shares_are_estimated_with_what_the_model_assumed_taken_out():
    """A model that evens classes out calls a rare class too often; EM must not believe it."""
    dataset = tiny_dataset()
    share, rows = torch.tensor([0.95, 0.05]), 20_000
    dataset.classes, dataset.label = ["common", "rare"], torch.zeros_like(dataset.label)
    dataset.target = torch.zeros(len(dataset.label), 2)
    gold = dataset.gold
    dataset.target[gold, 0] = 1.0
    dataset.target[gold[: max(1, round(0.05 * len(gold)))]] = torch.tensor([0.0, 1.0])
    labelled = dataset.prior()
    assumed = assumed_shares(dataset, TrainConfig())
    torch.testing.assert_close(assumed, labelled.sqrt() / labelled.sqrt().sum())
    plain = assumed_shares(dataset, TrainConfig(imbalance="none"))
    torch.testing.assert_close(plain, labelled)
    generator = torch.Generator().manual_seed(0)
    rare = torch.rand(rows, generator=generator) < share[1]
    x = torch.randn(rows, generator=generator) + 1.5 * rare  # classes that overlap
    odds = 1.5 * x - 1.5**2 / 2 + (assumed[1] / assumed[0]).log()
    probs = torch.stack([torch.sigmoid(-odds), torch.sigmoid(odds)], 1)
    assert float(em_prior(probs, assumed)[1]) == pytest.approx(0.05, abs=0.01)
    assert float(em_prior(probs, labelled)[1]) > 0.08
