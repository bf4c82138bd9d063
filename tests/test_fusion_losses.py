"""What fusion models lose beside the classes: pairs, private and shared parts, supervised terms."""

import pytest
import torch
from fusion_models import batch, close, seeded, small

from models.fusion.supervised import supervised_terms


@pytest.mark.parametrize("kind", ["private_shared", "misa"])
def test_private_and_shared_vectors_can_be_told_apart_by_training(kind):
    model = small(kind, dropout=0.0)
    inputs, _ = batch(rows=64)
    present = torch.rand(64, 3, generator=seeded(1)) > 0.2
    out = model(inputs, present)
    assert out.extra["private"].shape == out.extra["shared"].shape == (64, 3, 16)
    assert (out.extra["shared"] < 0).any()  # not sigmoids: cosines of either sign
    names = {"difference", "moments"} | ({"reconstruction"} if kind == "misa" else set())
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    history = []
    for _ in range(60):
        losses = model.auxiliary(model(inputs, present), inputs, present)
        assert set(losses) == names
        history.append({k: float(v.detach()) for k, v in losses.items()})
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    for name in names:
        assert history[-1][name] < 0.5 * history[0][name], name


def test_auxiliary_losses_carry_their_weight():
    inputs, present = batch()
    once, thrice = (small("misa", auxiliary_weight=w).eval() for w in (0.1, 0.3))
    for name, value in once.auxiliary(once(inputs, present), inputs, present).items():
        other = thrice.auxiliary(thrice(inputs, present), inputs, present)[name]
        torch.testing.assert_close(other, 3 * value)


def test_auxiliary_losses_leave_out_missing_rows():
    model = small("misa").eval()
    inputs, present = batch()
    keep = present.all(1)
    keep[2] = present[2] = True
    everyone = present & keep[:, None]
    out = model(inputs, everyone)
    subset = model({k: v[keep] for k, v in inputs.items()}, everyone[keep])
    here = model.auxiliary(out, inputs, everyone)
    there = model.auxiliary(subset, inputs, everyone[keep])
    for name, value in here.items():
        torch.testing.assert_close(value, there[name], msg=name)
    by_weight = model.auxiliary(model(inputs, present), inputs, present, keep.float())
    for name in ("difference", "moments"):
        torch.testing.assert_close(by_weight[name], there[name], msg=name)


@pytest.mark.parametrize("kind", ["contrastive", "private_shared"])
def test_supervised_terms_use_all_anchors_and_skip_what_is_alone(kind):
    model = small(kind, dropout=0.0)
    inputs, _ = batch(rows=24)
    present = torch.rand(24, 3, generator=seeded(2)) > 0.2
    label = torch.arange(24) % 4 - 1  # -1, 0, 1, 2
    label[1] = 3  # alone in its class

    def total(m):
        out = m(inputs, present)
        return sum(supervised_terms(out, label, present, classes=4).values())

    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    start = float(total(model).detach())
    for _ in range(80):
        optimizer.zero_grad()
        total(model).backward()
        optimizer.step()
    assert float(total(model).detach()) < start - 1
    out = model(inputs, present)
    nobody = torch.full((24,), -1)
    assert sum(supervised_terms(out, nobody, present).values()) == 0
    assert "inter" not in supervised_terms(
        small(kind, 1)({"speech": inputs["speech"]}, present[:, :1]), label, present[:, :1]
    )


def test_rows_takes_two_views_run_as_one_batch_apart():
    model = small("contrastive", affect=True).eval()
    inputs, present = batch()
    other, _ = batch(seed=50)
    both = {k: torch.cat([inputs[k], other[k]]) for k in inputs}
    whole = model(both, torch.cat([present, present]))
    close(whole.rows(0, 9), model(inputs, present))
    close(whole.rows(9, 18), model(other, present))


def test_rows_keeps_temperatures_whole_even_in_a_batch_of_three():
    model = small("contrastive").eval()
    inputs, present = batch(rows=3)
    out = model(inputs, present).rows(0, 1)
    assert out.projections["log_scale"].shape == (3,)
    assert out.projections["shared"].shape == (1, 3, 8)
