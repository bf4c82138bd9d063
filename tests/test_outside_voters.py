"""Outside voters are calibrated on gold that a chain may know, and judged with it."""

import numpy as np
import pytest
import torch
from tiny_learning import CLASSES, tiny_dataset, tiny_learning

from pseudo_label import Gold, Pool, SelectionConfig, preview, select
from pseudo_label.rules.external import consensus_note
from semi.config.schema import Config
from semi.data.config import DataConfig
from semi.self_training.outside import outside_columns, outside_sentences, shares_on_gold
from semi.self_training.pool import Pools
from semi.self_training.rounds import run_rounds, warm_start
from semi.training.outside_voters import fit_outside_voters


def voted(dataset, right, sure=0.98, seed=0, toward=None):
    """Returns (1, N, C) votes that are right so often, far too sure, else for class `toward`."""
    rng = np.random.default_rng(seed)
    classes = len(dataset.classes)
    wrong = rng.integers(1, classes, len(dataset.label))
    other = (dataset.label.numpy() + wrong) % classes
    if toward is not None:
        other = np.full(len(other), toward)
    label = np.where(rng.random(len(other)) < right, dataset.label.numpy(), other)
    votes = torch.full((len(label), classes), (1 - sure) / (classes - 1))
    votes[torch.arange(len(label)), torch.from_numpy(label)] = sure
    return votes[None]


def loss(probs, label):
    return float(-probs[torch.arange(len(label)), label].clamp(min=1e-9).log().mean())


@pytest.fixture(scope="module")
def many():
    """A dataset of 300 gold rows: enough for a scale and a shift of each class."""
    dataset = tiny_dataset(gold=300)
    dataset.external = voted(dataset, 0.6)
    return dataset


def test_probabilities_that_are_too_sure_are_so_no_more(many):
    outside, label = many.outside(), many.label[many.gold]
    raw, fitted = many.external[0, many.gold], outside.gold[-1, 0]
    assert loss(fitted, label) < loss(raw, label) - 0.3
    assert abs(float(fitted.amax(1).mean()) - 0.6) < 0.06 < float(raw.amax(1).mean()) - 0.6
    assert torch.allclose(fitted.sum(1), torch.ones(300), atol=1e-5)


def test_a_label_that_a_voter_likes_too_much_is_taken_back():
    dataset = tiny_dataset(gold=600)
    dataset.external = voted(dataset, 0.45, sure=0.4, toward=0)
    noise = torch.rand(dataset.external.shape, generator=torch.Generator().manual_seed(0))
    dataset.external = (dataset.external + 0.3 * noise) / (dataset.external + 0.3 * noise).sum(
        -1, keepdim=True
    )
    label = dataset.label[dataset.gold]
    raw = (dataset.external[0, dataset.gold].argmax(1) == 0).float().mean()
    fitted = (dataset.outside().gold[-1, 0].argmax(1) == 0).float().mean()
    truth = (label == 0).float().mean()
    assert abs(fitted - truth) < abs(raw - truth) / 2


def test_no_chain_sees_the_gold_that_it_holds_out(many):
    """Other labels in a chain's own fold change nothing that the chain is given."""
    label, fold = many.label[many.gold], many.fold
    before = many.outside()
    for chain in range(many.folds):
        changed = torch.where(fold == chain, (label + 1) % 3, label)
        after = fit_outside_voters(many.external, many.gold, changed, fold)
        assert torch.equal(before.of(many.pool, chain), after.of(many.pool, chain))
        kept = fold != chain
        assert torch.equal(before.gold[chain][:, kept], after.gold[chain][:, kept])
        assert not torch.equal(before.of(many.pool, many.folds), after.of(many.pool, many.folds))


def test_a_gold_row_is_calibrated_without_its_own_fold(many):
    label, fold = many.label[many.gold], many.fold
    before = many.outside()
    changed = torch.where(fold == 0, (label + 1) % 3, label)
    after = fit_outside_voters(many.external, many.gold, changed, fold)
    own = fold == 0
    assert torch.equal(before.gold[-1][:, own], after.gold[-1][:, own])
    assert not torch.equal(before.gold[-1][:, ~own], after.gold[-1][:, ~own])


def test_rows_without_a_vote_stay_without_and_teach_nothing():
    dataset = tiny_dataset()
    dataset.external = voted(dataset, 0.8)
    dataset.external[0, ::3] = torch.nan
    outside = dataset.outside()
    gone = dataset.external[0, dataset.pool].isnan().any(1)
    assert torch.equal(outside.of(dataset.pool, 0)[0].isnan().any(1), gone)
    assert shares_on_gold(dataset)[0].rows == 16  # of 24 gold rows
    dataset.external[:, dataset.gold] = torch.nan
    dataset.external = dataset.external.clone()
    asked = ~dataset.external[0, dataset.pool].isnan().any(1)
    as_they_came = dataset.external[0, dataset.pool][asked]
    assert torch.allclose(dataset.outside().of(dataset.pool, 0)[0][asked], as_they_came, atol=1e-5)


def test_the_rounds_have_votes_on_the_rows_of_their_gold():
    dataset, learning = tiny_dataset(), tiny_learning()
    dataset.external = voted(dataset, 0.9)
    pools = Pools(dataset, warm_start(dataset, learning, {}), learning, 0.5, 1)
    for chain in range(dataset.folds + 1):
        pool = pools.of(chain)
        assert pool.external.shape == (1, len(dataset.pool), 3)
        assert pool.gold.external.shape == (1, len(pool.gold.label), 3)
        assert not pool.gold.external.isnan().any()


def test_only_what_model_and_voter_agree_on_is_learned():
    dataset, learning = tiny_dataset(), tiny_learning(rule="external", coverage=[1.0])
    dataset.external = voted(dataset, 0.7)
    state = run_rounds(dataset, learning).states[1]
    labels = state.pseudo_labels
    votes = dataset.outside().of(dataset.pool, dataset.folds)[0].argmax(1)
    chosen = labels.chosen[-1]
    assert chosen.any() and bool((labels.label[-1] == votes)[chosen].all())
    assert any(n.startswith("on 24 rows of gold out-of-fold the model is right in") for n in
               labels.notes)  # fmt: skip


def made_up(agree, rows=400, seed=0):
    """Returns a pool whose voter is right where it agrees: gold has `agree` such rows in ten."""
    g = torch.Generator().manual_seed(seed)
    label = torch.randint(0, 2, (rows,), generator=g)
    model = torch.where(torch.rand(rows, generator=g) < 0.7, label, 1 - label)
    sure = 0.6 + 0.3 * torch.rand(rows, generator=g)
    probs = torch.stack([torch.where(model == c, sure, 1 - sure) for c in (0, 1)], 1)
    voter = torch.where(torch.rand(rows, generator=g) < agree, label, 1 - label)
    votes = torch.nn.functional.one_hot(voter, 2).float()[None]
    gold = Gold(probs=probs, label=label, external=votes)
    return Pool(probs=probs, prior=torch.tensor([0.5, 0.5]), tie=torch.arange(rows), rate=1.0,
                classes=["a", "b"], external=votes, gold=gold)  # fmt: skip


def test_the_bound_counts_gold_that_the_voter_confirms():
    """70 % of the model's answers are right, of those that a voter of 95 % confirms 98 %."""
    pool = made_up(0.95)
    alone = select(pool, SelectionConfig(rule="class_topk", precision_target=0.9))
    both = select(pool, SelectionConfig(rule="external", precision_target=0.9))
    assert not alone.chosen.any() and both.chosen.sum() > 200
    chosen = both.chosen
    assert (both.label == pool.gold.label)[chosen].float().mean() > 0.95
    hard = SelectionConfig(rule="class_topk", precision_target=0.9)
    hard.agreement.mode, hard.agreement.over = "hard", ["external"]
    assert torch.equal(select(pool, hard).chosen, both.chosen)
    shown = preview(both, pool)
    assert all(c.gold_precision > 0.95 and c.gold_rows < 200 for c in shown.classes)


def test_soft_agreement_averages_gold_as_it_does_the_pool():
    pool = made_up(0.8)
    config = SelectionConfig(rule="class_topk", precision_target=0.8)
    config.agreement.mode, config.agreement.over = "soft", ["external"]
    found = select(pool, config)
    wanted = (pool.probs + pool.external[0]) / 2
    assert torch.allclose(found.probs, wanted)
    right = (wanted.argmax(1) == pool.gold.label).float().mean()
    assert right > 0.75 and found.chosen.any()


def test_the_note_says_how_right_the_consensus_is():
    probs = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8], [0.2, 0.8], [0.6, 0.4]])
    votes = torch.tensor([[1.0, 0], [1, 0], [1, 0], [0, 1], [torch.nan, torch.nan]])
    gold = Gold(probs=probs, label=torch.tensor([0, 1, 0, 1, 1]), external=votes[None])
    assert consensus_note(gold) == (
        "on 4 rows of gold out-of-fold the model is right in 50 %; model and outside voters agree "
        "on 3 of them and are right in 67 %; where they differ the model is in 0 %"
    )
    assert consensus_note(Gold(probs=probs, label=gold.label)).startswith("no gold row has an out")


def test_the_ledger_has_what_each_voter_says_and_how_right_it_is():
    dataset = tiny_dataset(gold=60)
    dataset.external = torch.cat([voted(dataset, 0.9), voted(dataset, 0.5, seed=1)])
    dataset.external[1, dataset.pool[:7]] = torch.nan
    columns = outside_columns(dataset, dataset.pool, shares_on_gold(dataset))
    assert list(columns) == [f"{what}_outside_{k}" for k in (1, 2) for what in
                             ("vote", "confidence", "precision")]  # fmt: skip
    assert set(columns["vote_outside_1"]) <= set(CLASSES)
    assert columns["vote_outside_2"][:7].tolist() == [None] * 7
    assert np.isnan(columns["precision_outside_2"][:7]).all()
    share = shares_on_gold(dataset)[0]
    for name, (right, rows) in share.by_class.items():
        here = columns["vote_outside_1"] == name
        assert np.allclose(columns["precision_outside_1"][here], right / rows, atol=1e-6)


@pytest.mark.parametrize(
    ("right", "gold", "rule", "told"),
    [
        (0.9, 60, "external", []),
        (0.33, 60, "external", ["v.csv is not shown to be right more often than chance"]),
        (0.9, 60, "class_topk", ["nothing asks the voters of data.outside; set select.rule=ext"]),
        (None, 60, "external", ["v.csv has no vote on any gold row, so its probabilities are tak"]),
    ],
)
def test_a_run_says_what_its_voters_are_worth(right, gold, rule, told):
    dataset = tiny_dataset(gold=gold)
    dataset.external = voted(dataset, right or 0.5, sure=0.8)
    if right is None:
        dataset.external[:, dataset.gold] = torch.nan
    config = Config(data=DataConfig(outside=["v.csv"]), select=SelectionConfig(rule=rule))
    first, *warnings = outside_sentences(config, dataset, True)
    assert first.startswith("outside voter v.csv: 60 of 60 pool rows; ")
    if right == 0.9:
        assert "% right [" in first and "on 60 gold rows (chance: 3" in first
        assert (
            "by the label that it names: calm " in first and "; calibrated by temperature " in first
        )
    assert len(warnings) == len(told)
    for words, warning in zip(told, warnings, strict=True):
        assert warning.startswith("warning: ") and words in warning
