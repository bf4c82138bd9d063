"""What a selection would add, and how precise that should be."""

import pytest
import torch
from selection_pools import make_pool

from pseudo_label import SelectionConfig, preview, select
from pseudo_label.rules.agreement import AgreementConfig


def test_preview_counts_what_would_be_added():
    pool = make_pool(classes=4)
    selection = select(pool, SelectionConfig())
    seen = preview(selection, pool)
    assert seen.chosen == int(selection.chosen.sum()) and seen.rows == 300
    assert sum(c.chosen for c in seen.classes) == seen.chosen
    assert seen.expected == pytest.approx(float(pool.confidence[selection.chosen].mean()), abs=1e-6)
    c = seen.classes[3]
    gold = pool.gold
    above = (gold.probs.argmax(1) == 3) & (gold.probs.amax(1) >= selection.threshold[3])
    assert c.gold_rows == int(above.sum()) > 0
    assert c.gold_precision == pytest.approx(float((gold.label[above] == 3).float().mean()))
    assert 0 < c.gold_lower < c.gold_precision
    empty = preview(select(make_pool(0), SelectionConfig()), make_pool(0))
    assert empty.coverage == 0.0 and empty.chosen == 0


@pytest.mark.parametrize(
    "change",
    [
        {"align_gamma": 0.0},
        {"align_gamma": 0.5, "precision_target": 0.3},
        {"rule": "crest"},
        {"agreement": AgreementConfig(mode="soft", over=["modalities"])},
    ],
    ids=lambda change: " ".join(change),
)
def test_preview_compares_gold_on_the_scale_of_the_thresholds(change):
    """A threshold on aligned or mixed confidences says nothing of gold as it was before."""
    pool = make_pool(classes=4)
    pool.gold.probs = pool.gold.probs ** torch.tensor([4.0, 1.0, 1.0, 0.5])  # far from the prior
    pool.gold.probs /= pool.gold.probs.sum(1, keepdim=True)
    selection = select(pool, SelectionConfig(**change))
    probs = pool.gold.probs
    if "agreement" in change:
        probs = torch.cat([probs[None], pool.gold.by_modality]).mean(0)
    else:
        target = pool.prior ** change.get("align_gamma", 1.0)
        probs = probs * (target / target.sum()) / pool.probs.mean(0)
        probs = probs / probs.sum(1, keepdim=True)
    assert not torch.equal(probs.argmax(1), pool.gold.probs.argmax(1))
    for c, seen in enumerate(preview(selection, pool).classes):
        above = (probs.argmax(1) == c) & (probs.amax(1) >= selection.threshold[c])
        assert seen.gold_rows == int(above.sum())
        if seen.gold_rows:
            right = float((pool.gold.label[above] == c).float().mean())
            assert seen.gold_precision == pytest.approx(right)
