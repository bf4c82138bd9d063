"""Rules that look at the whole pool: soft allocation, graph, loss split; and the class shares."""

import math

import pytest
import torch

from pseudo_label import SelectionConfig, alignment, select
from pseudo_label.alignment import FARTHEST, align, bbse_prior, em_prior, near, shrink_prior
from pseudo_label.pool import Gold
from pseudo_label.rules.label_propagation import PropagationConfig, center, graph, propagate
from pseudo_label.rules.soft_allocation import certainty, sinkhorn
from tests.selection_pools import make_pool


def test_sinkhorn_equals_the_loop():
    pool = make_pool(40)
    q = [[p**2 for p in row] for row in pool.probs.double().tolist()]
    for _ in range(50):
        columns = [sum(row[c] for row in q) for c in range(4)]
        q = [[row[c] * 40 * float(pool.prior[c]) / columns[c] for c in range(4)] for row in q]
        q = [[v / sum(row) for v in row] for row in q]
    got = sinkhorn(pool.probs, pool.prior, 0.5, 50)
    assert torch.allclose(got.double(), torch.tensor(q, dtype=torch.float64), atol=1e-5)
    assert torch.allclose(got.sum(0), 40 * pool.prior, atol=1e-2)


def test_soft_allocation_gives_every_row_a_soft_label_in_the_prior():
    pool = make_pool(2000)
    selection = select(pool, SelectionConfig(rule="soft_allocation"))
    assert selection.chosen.all()
    assert torch.allclose(selection.target.mean(0), pool.prior, atol=1e-3)
    entropy = -(selection.target * selection.target.clamp(min=1e-12).log()).sum(1)
    assert torch.allclose(selection.weight, 1 - entropy / math.log(4), atol=1e-5)


def test_soft_allocation_survives_an_empty_class_and_certain_rows():
    probs = torch.eye(3).repeat(10, 1)
    q = sinkhorn(probs, torch.tensor([0.5, 0.5, 0.0]), 0.1, 50)
    assert q.isfinite().all() and torch.allclose(q.sum(1), torch.ones(30))
    assert certainty(torch.ones(5, 1)).tolist() == [1.0] * 5


def test_propagation_equals_the_dense_solution():
    """Z = (I - alpha W)^-1 Y with W = D^-1/2 (A + A^T) D^-1/2."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(60, 5, generator=g)
    speaker = torch.randint(0, 3, (60,), generator=g)
    config = PropagationConfig(k=8, chunk=17)
    rows, columns, values = graph(x, speaker, config)
    a = torch.zeros(60, 60, dtype=torch.float64)
    a[rows, columns] = values.double()
    w = a + a.T
    d = w.sum(1).rsqrt()
    w = d[:, None] * w * d
    y = torch.zeros(60, 3)
    y[:6, :] = torch.eye(3).repeat(2, 1) / 2
    dense = torch.linalg.solve(torch.eye(60, dtype=torch.float64) - 0.9 * w, y.double())
    got = propagate(rows, columns, values, y, 0.9, 60)
    assert torch.allclose(got.double(), dense, atol=1e-5)


def test_graph_equals_the_loop_and_keeps_speakers_apart():
    g = torch.Generator().manual_seed(1)
    x = torch.randn(50, 4, generator=g) + 2  # positive cosines
    speaker = torch.arange(50) % 2
    speaker[::7] = -1
    rows, columns, values = graph(x, speaker, PropagationConfig(k=10, same_speaker=0.3, chunk=16))
    n = torch.nn.functional.normalize(x, dim=1)
    for i in range(50):
        others = sorted((j for j in range(50) if j != i), key=lambda j: -float(n[i] @ n[j]))
        kept, own = [], 0
        for j in others:
            mine = speaker[i] == speaker[j] and speaker[i] >= 0
            if mine and own == 3:
                continue
            own += int(mine)
            kept.append(j)
            if len(kept) == 10:
                break
        kept = {j for j in kept if float(n[i] @ n[j]) > 0}
        mine = rows == i
        assert set(columns[mine].tolist()) == kept
        for j, v in zip(columns[mine].tolist(), values[mine].tolist(), strict=True):
            assert v == pytest.approx(float(n[i] @ n[j]) ** 3, abs=1e-5)


def test_propagation_finds_clusters_that_speaker_offsets_hide():
    g = torch.Generator().manual_seed(0)
    label = torch.randint(0, 3, (400,), generator=g)
    speaker = torch.randint(0, 4, (400,), generator=g)
    means, offsets = 3 * torch.eye(3, 10), 8 * torch.randn(4, 10, generator=g)
    x = means[label] + offsets[speaker] + 0.5 * torch.randn(400, 10, generator=g)
    mine, theirs = speaker > 1, speaker == 0  # the pool's speakers have no gold
    truth = label[mine]
    pool = make_pool(len(truth), 3, gold=int(theirs.sum()), features=x[mine], group=speaker[mine])
    pool.gold.features, pool.gold.group, pool.gold.label = x[theirs], speaker[theirs], label[theirs]
    config = SelectionConfig(rule="label_propagation")
    config.label_propagation = PropagationConfig(k=15)
    selection = select(pool, config)
    assert selection.chosen.all()
    assert (selection.label == truth).float().mean() > 0.95
    config.label_propagation = PropagationConfig(k=15, center=False, same_speaker=1.0)
    assert (select(pool, config).label == truth).float().mean() < 0.7
    assert torch.allclose(center(x, speaker)[speaker == 2].mean(0), torch.zeros(10), atol=1e-5)


def test_rows_no_label_reaches_are_not_taken():
    pool = make_pool(20, 3, gold=6)
    pool.features = torch.eye(6)[torch.arange(20) % 6]
    pool.gold.features = torch.eye(6)[torch.zeros(6, dtype=torch.long)]
    config = SelectionConfig(rule="label_propagation")
    config.label_propagation = PropagationConfig(k=3, center=False, same_speaker=1.0)
    words = select(pool, config).words()
    assert words.count("isolated") == 16 and words[1] == "isolated"


def test_em_finds_a_shifted_prior():
    g = torch.Generator().manual_seed(0)
    source, true = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.2, 0.2, 0.6])
    label = torch.multinomial(true, 20_000, True, generator=g)
    x = 2 * torch.nn.functional.one_hot(label, 3) + torch.randn(20_000, 3, generator=g)
    probs = (2 * x + source.log()).softmax(1)  # exact posterior under the source prior
    assert torch.allclose(em_prior(probs, source), true, atol=0.02)
    slow = source.clone()
    for _ in range(5):
        rows = probs * slow / source
        slow = (rows / rows.sum(1, keepdim=True)).mean(0)
    assert torch.allclose(em_prior(probs, source, 5), slow, atol=1e-5)


def test_bbse_solves_the_confusion_equation():
    g = torch.Generator().manual_seed(1)
    source, true = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.2, 0.2, 0.6])

    def draw(prior, rows):
        label = torch.multinomial(prior, rows, True, generator=g)
        x = 2 * torch.nn.functional.one_hot(label, 3) + torch.randn(rows, 3, generator=g)
        return (2 * x + source.log()).softmax(1), label

    gold_probs, gold_label = draw(source, 20_000)
    probs, _ = draw(true, 20_000)
    assert torch.allclose(bbse_prior(probs, gold_probs, gold_label), true, atol=0.02)


@pytest.mark.parametrize("kind", ["em", "bbse"])
def test_estimated_prior_reaches_the_quotas_and_the_notes(kind):
    pool = make_pool(1000)
    selection = select(pool, SelectionConfig(prior=kind))
    assert not torch.allclose(selection.prior, pool.prior)
    assert float(selection.prior.sum()) == pytest.approx(1)
    assert f"estimated by {kind}" in selection.notes[0]
    half = shrink_prior(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5]), 200)
    assert half.tolist() == pytest.approx([0.75, 0.25])


def test_an_estimate_stays_near_the_labelled_shares():
    labelled = torch.tensor([0.47, 0.3, 0.17, 0.03, 0.03])
    inside = torch.tensor([0.4, 0.25, 0.2, 0.08, 0.07])
    assert torch.allclose(near(inside, labelled), inside, atol=1e-6)
    astray = near(torch.tensor([0.2, 0.1, 0.05, 0.63, 0.02]), labelled)
    assert float(astray[3]) == pytest.approx(0.09, abs=1e-6)
    assert float(astray.sum()) == pytest.approx(1)
    ratio = astray / labelled
    assert float(ratio.max()) <= FARTHEST + 1e-5 and float(ratio.min()) >= 1 / FARTHEST - 1e-5


def test_models_that_say_one_class_of_everything_do_not_make_it_common():
    pool = make_pool(1000)
    pool.prior = torch.tensor([0.55, 0.32, 0.10, 0.03])
    certain = torch.tensor([0.05, 0.05, 0.05, 0.85])
    pool.probs = certain.expand(1000, 4).clone()
    rows = 20_000  # gold enough for the estimate to count nearly alone
    pool.gold = Gold(pool.probs[:1].expand(rows, 4), torch.zeros(rows).long())
    selection = select(pool, SelectionConfig(prior="em"))
    assert selection.prior is not None
    assert float(selection.prior[3]) == pytest.approx(0.09, abs=1e-4)


def test_align_brings_the_expected_prediction_to_the_target():
    pool = make_pool(200)
    target = torch.tensor([0.7, 0.1, 0.1, 0.1])
    aligned = align(pool.probs, target)
    raw = pool.probs * target / pool.probs.mean(0)
    assert torch.allclose(aligned, raw / raw.sum(1, keepdim=True))
    assert align(pool.probs[:0], target).shape == (0, 4)


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_many_rows_are_gone_through_a_block_at_a_time(monkeypatch, rows):
    draw = torch.Generator().manual_seed(1)
    probs, prior = torch.randn(64, 4, generator=draw).softmax(1), torch.tensor([0.4, 0.3, 0.2, 0.1])
    whole = sinkhorn(probs, prior, 0.7, 50), em_prior(probs, prior)
    monkeypatch.setattr(alignment, "CACHED_ROWS", rows)
    torch.testing.assert_close(sinkhorn(probs, prior, 0.7, 50), whole[0])
    torch.testing.assert_close(em_prior(probs, prior), whole[1])
    torch.testing.assert_close(whole[0].sum(0) / 64, prior, rtol=1e-3, atol=1e-3)
