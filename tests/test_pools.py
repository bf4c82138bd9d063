import pytest
import torch
from tiny_learning import tiny_learning, tiny_problem

from pseudo_label import RULES
from pseudo_label.alignment import em_prior
from semi.config.training import TrainConfig
from semi.self_training.pool import (
    GRAPH_DIMS,
    assumed_shares,
    graph_features,
    member_probs,
    needs_members,
    pool_of,
)
from semi.self_training.rounds import run_rounds, warm_start


@pytest.fixture(scope="module")
def started():
    problem, learning = tiny_problem(), tiny_learning()
    return problem, learning, warm_start(problem, learning, {})


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_runs_through_a_whole_round(rule):
    problem = tiny_problem()
    if rule == "external":
        votes = torch.nn.functional.one_hot(problem.label, 3).float()
        problem.external = votes[None]
    learning = tiny_learning(rule=rule, threshold=0.3)
    outcome = run_rounds(problem, learning)
    assert outcome.stopped in ("max_rounds", "no_change", "all_labeled", "gate")
    if len(outcome.states) > 1:  # what was picked is a proper selection of pool rows
        picked = outcome.states[1].picked
        assert picked.chosen.shape == (3, 60) and picked.chosen[-1].any()
        assert ((picked.weight > 0) <= picked.chosen).all()


def test_the_external_rule_says_what_it_lacks():
    with pytest.raises(ValueError, match=r"rule 'external' needs pool.external"):
        run_rounds(tiny_problem(), tiny_learning(rule="external"))


def test_members_average_to_what_their_chain_says():
    problem, learning = tiny_problem(), tiny_learning()
    learning.vote.calibration, learning.vote.method = "none", "fused"
    state = warm_start(problem, learning, {})
    said = []
    for chain in range(3):
        members = member_probs(problem, state.ensemble, state.teaching.voter, chain)
        assert members.shape == (2, 60, 3) and not torch.equal(members[0], members[1])
        said.append(members.mean(0))
    assert torch.allclose(torch.stack(said), state.teaching.pool_logits[:, 0].exp(), atol=1e-5)


def test_a_chain_is_never_shown_the_gold_it_holds_out(started):
    problem, learning, state = started
    learning.select.rule = "label_propagation"
    features = graph_features(problem, learning.select)
    for chain in range(3):
        pool = pool_of(
            problem, state.teaching, chain, learning.select,
            rate=0.3, number=1, state={}, features=features,
        )  # fmt: skip
        kept = problem.fold != chain
        assert len(pool.gold.label) == int(kept.sum())
        assert torch.equal(pool.gold.features, features[problem.gold[kept]])
        assert torch.equal(pool.gold.probs, state.teaching.oof[kept])


def test_only_rules_that_compare_rows_get_features():
    problem, learning = tiny_problem(), tiny_learning(rule="class_topk")
    assert graph_features(problem, learning.select) is None
    learning.select.rule = "label_propagation"
    assert graph_features(problem, learning.select).shape == (114, 12)
    problem.values["speech"] = torch.randn(114, 300)
    wide = graph_features(problem, learning.select)
    assert wide.shape == (114, min(GRAPH_DIMS, 84))  # 84 training rows span no more


@pytest.mark.parametrize(
    "select, wanted",
    [
        ({"rule": "ups"}, True),
        ({"rule": "gmm_split"}, True),
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
    problem = tiny_problem()
    share, rows = torch.tensor([0.95, 0.05]), 20_000
    problem.classes, problem.label = ["common", "rare"], torch.zeros_like(problem.label)
    problem.target = torch.zeros(len(problem.label), 2)
    gold = problem.gold
    problem.target[gold, 0] = 1.0
    problem.target[gold[: max(1, round(0.05 * len(gold)))]] = torch.tensor([0.0, 1.0])
    labelled = problem.prior()
    assumed = assumed_shares(problem, TrainConfig())
    torch.testing.assert_close(assumed, labelled.sqrt() / labelled.sqrt().sum())
    plain = assumed_shares(problem, TrainConfig(imbalance="none"))
    torch.testing.assert_close(plain, labelled)
    generator = torch.Generator().manual_seed(0)
    rare = torch.rand(rows, generator=generator) < share[1]
    x = torch.randn(rows, generator=generator) + 1.5 * rare  # classes that overlap
    odds = 1.5 * x - 1.5**2 / 2 + (assumed[1] / assumed[0]).log()
    probs = torch.stack([torch.sigmoid(-odds), torch.sigmoid(odds)], 1)
    assert float(em_prior(probs, assumed)[1]) == pytest.approx(0.05, abs=0.01)
    assert float(em_prior(probs, labelled)[1]) > 0.08
