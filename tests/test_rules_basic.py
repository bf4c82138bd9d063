"""Thresholds, quotas, agreement, external voters, margin and entropy against slow loops."""

import math

import pytest
import torch

from pseudo_label import SelectionConfig, select
from pseudo_label.rules.agreement import AgreementConfig
from tests.selection_pools import CLASSES, make_pool


def test_threshold_per_class_by_name():
    """MR-CCL's 0.99 for some classes and 0.85 for the others."""
    pool = make_pool(1000)
    pool.classes = CLASSES
    config = SelectionConfig(rule="threshold", threshold=0.9, per_class={"joy": 0.6, "calm": 0.99})
    selection = select(pool, config)
    tau = [0.9, 0.99, 0.9, 0.6]
    assert selection.threshold.tolist() == pytest.approx(tau)
    for i, row in enumerate(pool.probs.tolist()):
        assert bool(selection.chosen[i]) == (max(row) >= torch.tensor(tau)[row.index(max(row))])
        assert selection.words()[i] == ("chosen" if selection.chosen[i] else "below_threshold")


def test_threshold_for_a_class_that_is_not_there_names_the_nearest():
    pool = make_pool()
    pool.classes = CLASSES
    config = SelectionConfig(rule="threshold", per_class={"anger!": 0.9})
    with pytest.raises(ValueError, match=r"per_class must be one of .*; did you mean 'anger'"):
        select(pool, config)
    pool.classes = []
    with pytest.raises(ValueError, match=r"pool\.classes is empty"):
        select(pool, config)


def top_loop(pool, score, quota, allowed=None):
    """The rows with the best score of each predicted class, ties by `tie`."""
    chosen = set()
    for c, k in enumerate(quota):
        rows = range(len(pool)) if allowed is None else allowed
        mine = [i for i in rows if int(pool.predicted[i]) == c]
        mine.sort(key=lambda i: (-float(score[i]), int(pool.tie[i])))
        chosen |= set(mine[:k])
    return chosen


@pytest.mark.parametrize("rule", ["class_topk", "equal_topk", "margin", "entropy"])
@pytest.mark.parametrize("rate", [0.05, 0.3, 1.0])
def test_topk_equals_the_loop(rule, rate):
    pool = make_pool(rate=rate)
    pool.probs[:100] = pool.probs[100:200]
    share = [0.25] * 4 if rule == "equal_topk" else [0.1, 0.2, 0.3, 0.4]
    quota = [math.ceil(rate * 300 * s - 1e-4) for s in share]
    best = pool.probs.sort(1, descending=True).values
    score = {
        "margin": best[:, 0] - best[:, 1],
        "entropy": (pool.probs * pool.probs.log()).sum(1),
    }.get(rule, pool.probs.amax(1))
    selection = select(pool, SelectionConfig(rule=rule))
    assert set(selection.chosen.nonzero()[:, 0].tolist()) == top_loop(pool, score, quota)
    for c in range(4):
        mine = selection.chosen & (selection.label == c)
        assert float(selection.threshold[c]) == pytest.approx(float(pool.confidence[mine].min()))


def test_a_class_nobody_predicts_takes_no_row_and_has_no_threshold():
    probs = torch.tensor([[0.9, 0.1, 0.0]] * 5)
    pool = make_pool(5, 3, probs=probs)
    selection = select(pool, SelectionConfig(rule="class_topk"))
    assert selection.threshold[1:].tolist() == [2.0, 2.0]


@pytest.mark.parametrize("mode, k", [("hard", 2), ("k_of_n", 2), ("k_of_n", 1), ("k_of_n", 9)])
@pytest.mark.parametrize("over", [["modalities"], ["modalities", "members", "external"]])
def test_agreement_equals_the_loop(mode, k, over):
    pool = make_pool(rate=1.0, prior=torch.ones(4) / 4)
    config = SelectionConfig(rule="agreement", temporal=0.0)
    config.agreement = AgreementConfig(mode=mode, k=k, over=over)
    selection = select(pool, config)
    agreed = set()
    for i in range(300):
        fused = int(pool.probs[i].argmax())
        votes = [fused]
        votes += [int(pool.by_modality[m, i].argmax()) for m in range(2) if pool.present[i, m]]
        if "members" in over:
            votes += [int(pool.members[e, i].argmax()) for e in range(3)]
            votes += [int(pool.external[0, i].argmax())]
        needed = len(votes) if mode == "hard" else min(k, len(votes))
        if votes.count(fused) >= needed:
            agreed.add(i)
    refused = {i for i, word in enumerate(selection.words()) if word == "disagreement"}
    assert refused == set(range(300)) - agreed
    expected = top_loop(pool, pool.confidence, [75] * 4, agreed)
    assert set(selection.chosen.nonzero()[:, 0].tolist()) == expected


def test_agreement_before_another_rule_thins_it():
    pool = make_pool()
    config = SelectionConfig(rule="softmatch")
    config.agreement.mode = "hard"
    selection = select(pool, config)
    assert 0 < selection.chosen.sum() < 300
    row = int(selection.chosen.nonzero()[0])
    for m in range(2):
        if pool.present[row, m]:
            assert pool.by_modality[m, row].argmax() == pool.predicted[row]


def test_a_modality_that_cannot_beat_guessing_does_not_veto():
    pool = make_pool(rate=1.0)
    config = SelectionConfig(rule="agreement")
    strict = select(pool, config).chosen.sum()
    config.agreement.margin = 0.3  # both modalities of the made-up gold are near chance
    assert select(pool, config).chosen.sum() > 2 * strict


def test_external_voter_must_confirm():
    pool = make_pool(rate=1.0)
    selection = select(pool, SelectionConfig(rule="external"))
    same = pool.external[0].argmax(1) == pool.predicted
    assert not selection.chosen[~same].any() and selection.chosen.sum() > 30
    pool.external = torch.cat([pool.external, pool.members[:1]])
    both = select(pool, SelectionConfig(rule="external")).chosen
    assert not both[~same].any() and both.sum() < selection.chosen.sum()
