"""The contrastive model: its pairs teach, and the published model's defects are not in it.

Defect numbers are those of the published MR-CCL code as this project's survey lists them.
"""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call, grad, stack_module_state, vmap

from models.fusion import (
    ContrastConfig,
    FusionConfig,
    build_fusion,
    contrastive_terms,
    group_means,
    permutation_control,
    retrieval_at_1,
)
from models.fusion import diagnostics as diag
from models.fusion.contrastive import GROUPS, log_scales
from models.losses.contrastive import nt_xent
from noise import Corruption, NoiseConfig

DIMS = {"speech": 20, "text": 14, "video": 17}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def model_of(many, **change):
    torch.manual_seed(0)
    dims = dict(list(DIMS.items())[:many])
    return build_fusion(FusionConfig(hidden=32, projection=16, **change), dims, 4)


def talk(rows, many, seed=0):
    """Views of one shared 8-d latent per row, as standardised features."""
    latent = torch.randn(rows, 8, generator=seeded(seed))
    return {
        name: latent @ torch.randn(8, d, generator=seeded(100 + i)) / 8**0.5
        + 0.1 * torch.randn(rows, d, generator=seeded(seed + i + 1))
        for i, (name, d) in enumerate(list(DIMS.items())[:many])
    }


def views(model, inputs, present, generator):
    corrupt = Corruption(NoiseConfig())
    noisy = {k: corrupt(v, generator) for k, v in inputs.items()}
    return model(inputs, present), model(noisy, present)


def all_present(inputs):
    rows = next(iter(inputs.values())).shape[0]
    return torch.ones(rows, len(inputs), dtype=torch.bool)


@pytest.fixture(scope="module", params=[1, 2, 3])
def taught(request):
    """A model after 200 contrastive steps on the toy, with unseen rows to judge it by."""
    many = request.param
    model, inputs = model_of(many, dropout=0.1), talk(256, many)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    generator = seeded(7)
    before = copy.deepcopy(model)
    for _ in range(200):
        pick = torch.randperm(256, generator=generator)[:48]
        x = {k: v[pick] for k, v in inputs.items()}
        clean, noisy = views(model, x, all_present(x), generator)
        terms = contrastive_terms(model, clean, noisy, all_present(x))
        optimizer.zero_grad()
        sum(group_means(terms).values()).backward()
        optimizer.step()
    return many, before.eval(), model.eval(), talk(100, many, seed=50)


def judged(model, held):
    with torch.no_grad():
        clean, noisy = views(model, held, all_present(held), seeded(3))
    return clean, noisy, all_present(held)


def test_after_200_steps_true_partners_cost_much_less_than_wrong_ones(taught):
    many, before, model, held = taught
    gap = permutation_control(model, *judged(model, held))
    assert set(gap) == expected_names(many)
    assert all(float(v) > 0.5 for v in gap.values()), gap
    untaught = permutation_control(before, *judged(before, held))
    for name in gap:
        assert gap[name] > untaught[name]


def test_retrieval_on_unseen_rows_rises_from_chance(taught):
    many, before, model, held = taught
    start = retrieval_at_1(before, *judged(before, held))
    end = retrieval_at_1(model, *judged(model, held))
    for name in expected_names(many):
        if name.startswith("noise"):  # a noisy view resembles its own row from the start
            assert float(end[name]) > 0.25, name
        else:
            assert float(start[name]) < 0.1, name
            assert float(end[name]) > 0.6, name


def test_the_space_has_not_collapsed(taught):
    _, _, model, held = taught
    clean, _, _ = judged(model, held)
    z = clean.projections["shared"].transpose(0, 1)  # (M, B, P)
    assert (diag.uniformity(z) < -1).all()
    assert (diag.effective_rank(z) > 0.3 * 16).all()
    if len(z) > 1:
        assert diag.alignment(z[0], z[1]) < 0.5 < diag.alignment(z[0], z[1].roll(1, 0))


def expected_names(many):
    names = list(DIMS)[:many]
    pairs = {f"modality/{a}-{b}" for i, a in enumerate(names) for b in names[i + 1 :]}
    rest = {f"rest/{a}" for a in names} if many > 1 else set()
    return pairs | rest | {f"noise/{a}" for a in names}


@pytest.mark.parametrize("many", [1, 2, 3])
def test_each_group_has_its_switch(many):
    model, x = model_of(many).eval(), talk(12, many)
    clean, noisy = views(model, x, all_present(x), seeded())
    for group in GROUPS:
        only = ContrastConfig(**{g: g == group for g in GROUPS})
        terms = contrastive_terms(model, clean, noisy, all_present(x), config=only)
        assert set(terms) == {n for n in expected_names(many) if n.startswith(group + "/")}
    off = ContrastConfig(modality=False, rest=False, noise=False)
    assert contrastive_terms(model, clean, noisy, all_present(x), config=off) == {}
    without = contrastive_terms(model, clean, None, all_present(x))
    groups = {"modality", "rest"} if many == 3 else {"modality"} if many == 2 else set()
    assert {n.split("/")[0] for n in without} == groups
    assert set(group_means(without)) == groups


@pytest.mark.parametrize("many", [1, 2, 3])
def test_missing_rows_are_absent_from_the_terms(many):
    model, x = model_of(many).eval(), talk(20, many)
    keep = torch.arange(20) < 12
    present = all_present(x) & keep[:, None]
    dirty = {k: torch.where(keep[:, None], v, torch.nan) for k, v in x.items()}
    clean, noisy = views(model, dirty, present, seeded())
    some = contrastive_terms(model, clean, noisy, present)
    by_weight = contrastive_terms(model, clean, noisy, all_present(x), row_weight=keep.float())
    alone = contrastive_terms(model, clean.rows(0, 12), noisy.rows(0, 12), present[:12])
    for name, value in some.items():
        torch.testing.assert_close(value, alone[name], msg=name)
        torch.testing.assert_close(by_weight[name], alone[name], msg=name)


@pytest.mark.parametrize("many", [2, 3])
def test_learned_missing_vectors_are_contrasted_with_nothing(many):
    model, x = model_of(many).eval(), talk(20, many)
    present = torch.rand(20, many, generator=seeded(1)) > 0.3

    def terms():
        clean, noisy = views(model, x, present, seeded())
        return contrastive_terms(model, clean, noisy, present)

    before = terms()
    model.encoders.missing.data += 3 * torch.randn(model.encoders.missing.shape)
    for name, value in terms().items():
        torch.testing.assert_close(value, before[name], msg=name)


def test_a_rest_with_one_modality_missing_still_counts_of_three():
    model, x = model_of(3).eval(), talk(10, 3)
    present = all_present(x)
    present[:, 2] = False
    clean, noisy = views(model, x, present, seeded())
    terms = contrastive_terms(model, clean, noisy, present)
    assert terms["rest/speech"] > 0 and terms["rest/video"] == 0
    assert terms["modality/speech-video"] == 0 and terms["noise/video"] == 0


@pytest.mark.parametrize("many", [1, 2, 3])
@pytest.mark.parametrize("rows", [0, 1])
def test_all_pairs_missing_is_zero_with_finite_gradients(many, rows):
    model, x = model_of(many), talk(6, many)
    present = all_present(x) & (torch.arange(6) < rows)[:, None]
    dirty = {k: torch.where(present[:, :1], v, torch.nan) for k, v in x.items()}
    clean, noisy = views(model, dirty, present, seeded())
    terms = contrastive_terms(model, clean, noisy, present)
    total = sum(terms.values())
    if rows == 0:
        assert all(v == 0 for v in terms.values())
    (total + clean.logits.sum()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("many", [1, 2, 3])
def test_terms_under_vmap_equal_one_member_at_a_time(many):
    members = [model_of(many, dropout=0.0) for _ in range(2)]
    for p in members[1].parameters():
        p.data += 0.1 * torch.randn(p.shape, generator=seeded(3))
    base = copy.deepcopy(members[0])
    x, weight = talk(10, many), torch.rand(2, 10, generator=seeded(4))
    noisy_x = {k: Corruption()(v, seeded()) for k, v in x.items()}
    present = torch.rand(10, many, generator=seeded(5)) > 0.2
    params, _ = stack_module_state(members)

    def loss(p, w):
        clean = functional_call(base, p, (x, present))
        noisy = functional_call(base, p, (noisy_x, present))
        return sum(contrastive_terms(base, clean, noisy, present, row_weight=w).values())

    stacked = vmap(grad(loss))(params, weight)
    for i, member in enumerate(members):
        loss(dict(member.named_parameters()), weight[i]).backward()
        for name, p in member.named_parameters():
            expected = torch.zeros_like(p) if p.grad is None else p.grad
            torch.testing.assert_close(stacked[name][i], expected, atol=1e-5, rtol=1e-3, msg=name)


def test_rows_of_the_same_class_are_no_negatives_and_the_switch_restores_them():
    model, x = model_of(2).eval(), talk(12, 2)
    label = torch.arange(12) % 3
    same = label[:, None] == label[None]
    clean, noisy = views(model, x, all_present(x), seeded())
    plain = contrastive_terms(model, clean, noisy, all_present(x))
    aware = contrastive_terms(model, clean, noisy, all_present(x), same)
    off = contrastive_terms(
        model, clean, noisy, all_present(x), same, config=ContrastConfig(drop_same_class=False)
    )
    for name in plain:
        assert aware[name] < plain[name]
        torch.testing.assert_close(off[name], plain[name])
    everything = contrastive_terms(model, clean, noisy, all_present(x), torch.ones_like(same))
    assert float(everything["modality/speech-text"].detach()) == pytest.approx(0, abs=1e-5)


def test_of_two_modalities_the_rest_is_the_noisy_fused_vector_and_half_the_gradient_flows():
    model, x = model_of(2, dropout=0.0), talk(10, 2)
    clean, noisy = views(model, x, all_present(x), seeded())
    clean = copy.copy(clean)
    clean.projections = {k: v.detach() for k, v in clean.projections.items()}
    only = ContrastConfig(modality=False, noise=False)
    fused = noisy.projections["fused"]
    fused.retain_grad()
    sum(contrastive_terms(model, clean, noisy, all_present(x), config=only).values()).backward()
    scale = log_scales(clean, only)[1].exp()
    leaf = fused.detach().clone().requires_grad_()
    total = 0.0
    for m in range(2):
        a = F.normalize(clean.projections["rest"][:, m], dim=1)
        s = scale * a @ F.normalize(leaf, dim=1).T
        total = total + 0.5 * (
            F.cross_entropy(s, torch.arange(10)) + F.cross_entropy(s.T, torch.arange(10))
        )
    total.backward()
    torch.testing.assert_close(fused.grad, 0.5 * leaf.grad)


# -- the published defects, one test each ------------------------------------------------------


def published_nt_xent(a, b, tau=1.0):
    """The published loss: the diagonal, a row with itself, is taken as its own partner."""
    z = torch.cat([a, b])
    s = z @ z.T / tau
    return F.cross_entropy(s / tau, torch.arange(len(z)))


def test_defect_1_the_positive_is_the_partner_not_the_row_itself():
    a = torch.randn(32, 16, generator=seeded(1))
    b = a + 0.1 * torch.randn(32, 16, generator=seeded(2))
    wrong = b[torch.randperm(32, generator=seeded(3))]
    theirs = published_nt_xent(a, b), published_nt_xent(a, wrong)
    torch.testing.assert_close(theirs[0], theirs[1])  # blind to whose partner is whose
    assert nt_xent(a, wrong, 1.0) > nt_xent(a, b, 1.0) + 0.5


def test_defect_2_vectors_are_normalised_and_the_temperature_is_bounded_and_used_once():
    model, x = model_of(3).eval(), talk(12, 3)
    clean, noisy = views(model, x, all_present(x), seeded())
    config = ContrastConfig()
    start = log_scales(clean, config)
    torch.testing.assert_close((-start).exp(), torch.full((3,), 0.1))
    value = contrastive_terms(model, clean, noisy, all_present(x))["noise/text"]
    by_hand = nt_xent(clean.projections["shared"][:, 1], noisy.projections["shared"][:, 1], 0.1)
    torch.testing.assert_close(value, by_hand)
    for far in (-1e4, 1e4):
        model.log_scale.data.fill_(far)
        tau = (-log_scales(model(x, all_present(x)), config)).exp()
        assert (tau >= 0.01 - 1e-6).all() and (tau <= 1 + 1e-6).all()
    longer = copy.copy(clean)
    longer.projections = {k: v if k == "log_scale" else 5 * v for k, v in clean.projections.items()}
    bigger = contrastive_terms(model, longer, noisy, all_present(x))
    for name, v in contrastive_terms(model, clean, noisy, all_present(x)).items():
        torch.testing.assert_close(bigger[name], v)  # growing norms buys nothing


def test_defect_2_each_group_learns_its_own_temperature_and_none_gets_stuck():
    model, x = model_of(3), talk(12, 3)
    for group in range(3):
        model.zero_grad()
        model.log_scale.data.fill_(1.5)
        clean, noisy = views(model, x, all_present(x), seeded())
        only = ContrastConfig(**{g: i == group for i, g in enumerate(GROUPS)})
        sum(contrastive_terms(model, clean, noisy, all_present(x), config=only).values()).backward()
        slope = model.log_scale.grad
        assert slope[group] != 0 and slope.isfinite().all()
        assert all(slope[other] == 0 for other in range(3) if other != group)
    fixed = ContrastConfig(tau=0.5, learn_tau=False)
    torch.testing.assert_close(
        log_scales(model(x, all_present(x)), fixed), torch.full((3,), math.log(2))
    )


def test_defect_3_a_row_is_not_its_own_negative():
    # two rows, opposite to each other, each equal to its partner: with itself in the
    # denominator the loss could not fall below ln 2
    a = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert float(nt_xent(a, a, 0.1)) == pytest.approx(0, abs=1e-6)


def test_defect_4_the_noise_loss_is_returned_and_moves_the_encoders():
    model, x = model_of(3, dropout=0.0), talk(12, 3)
    clean, noisy = views(model, x, all_present(x), seeded())
    only = ContrastConfig(modality=False, rest=False)
    terms = contrastive_terms(model, clean, noisy, all_present(x), config=only)
    assert set(terms) == {"noise/speech", "noise/text", "noise/video"}
    sum(terms.values()).backward()
    for layer in model.encoders.first:
        assert layer.weight.grad.abs().sum() > 0


def test_defect_5_every_modality_gets_noise_of_its_own():
    corrupt, generator = Corruption(NoiseConfig(impulse=0.0, dim_mask=0.0)), seeded()
    flat = {k: torch.ones(200, 64) for k in DIMS}
    gone = {k: corrupt(v, generator) for k, v in flat.items()}
    share = torch.stack([v.mean(1) for v in gone.values()])  # (M, B): follows each timestep
    assert torch.corrcoef(share).triu(1).abs().max() < 0.3
    other = Corruption(NoiseConfig(schedule="cosine", abar_min=0.9))
    assert other.signal.min() > corrupt.signal.min()  # and may have its own schedule


def test_defect_6_the_shared_projector_enters_the_loss():
    model, x = model_of(3), talk(12, 3)
    clean, noisy = views(model, x, all_present(x), seeded())
    for group in GROUPS:
        model.zero_grad()
        only = ContrastConfig(**{g: g == group for g in GROUPS})
        terms = contrastive_terms(model, clean, noisy, all_present(x), config=only)
        sum(terms.values()).backward(retain_graph=True)
        assert all(p.grad.abs().sum() > 0 for p in model.project.parameters()), group
    sum(contrastive_terms(model, clean, noisy, all_present(x)).values()).backward()
    assert model.project_rest.weight.grad.abs().sum() > 0


def test_defect_7_a_prediction_does_not_depend_on_batch_mates():
    model, x = model_of(3).eval(), talk(32, 3)
    whole = model(x, all_present(x))
    for rows in (slice(0, 1), slice(0, 4), slice(5, 13)):
        part = {k: v[rows] for k, v in x.items()}
        other = {k: torch.cat([v, 50 * torch.randn(9, v.shape[1])]) for k, v in part.items()}
        some = model(part, all_present(part)).logits
        torch.testing.assert_close(some, whole.logits[rows], atol=1e-5, rtol=1e-5)
        mixed = model(other, all_present(other)).logits[: len(some)]
        torch.testing.assert_close(mixed, some, atol=1e-5, rtol=1e-5)


# -- diagnostics ----------------------------------------------------------------------------------


def test_diagnostics_of_isotropic_vectors_have_their_known_values():
    z = torch.randn(4000, 128, generator=seeded(1))
    assert float(diag.uniformity(z[:1500])) == pytest.approx(-3.94, abs=0.02)
    assert float(diag.effective_rank(z)) == pytest.approx(127, abs=1)
    other = torch.randn(4000, 128, generator=seeded(2))
    assert float(diag.alignment(z, other)) == pytest.approx(2, abs=0.02)
    assert float(diag.alignment(z, 3 * z)) == pytest.approx(0, abs=1e-5)


def test_diagnostics_of_a_collapsed_space_and_of_masked_rows():
    line = torch.arange(1.0, 101.0)[:, None] * torch.ones(1, 32)
    assert float(diag.effective_rank(line)) == pytest.approx(1, abs=0.01)
    assert float(diag.uniformity(line)) == pytest.approx(0, abs=1e-4)
    z = 2 + torch.randn(60, 8, generator=seeded(3))
    torch.testing.assert_close(diag.effective_rank(z), diag.effective_rank(z + 9))
    ok = torch.arange(60) < 40
    dirty = torch.where(ok[:, None], z, torch.nan)
    for f in (diag.uniformity, diag.effective_rank):
        torch.testing.assert_close(f(dirty, ok), f(z[:40]))
        assert f(z, torch.zeros(60, dtype=torch.bool)).isfinite()
    for f in (diag.alignment, diag.retrieval):
        torch.testing.assert_close(f(dirty, dirty.roll(1, 1), ok), f(z[:40], z[:40].roll(1, 1)))
        assert f(z, z, torch.zeros(60, dtype=torch.bool)) == 0


def test_retrieval_counts_nearest_partners_both_ways():
    a = torch.eye(4)
    assert diag.retrieval(a, a) == 1
    assert diag.retrieval(a, a.roll(1, 0)) == 0
    b = a.clone()
    b[1] = b[0] + 0.01 * a[1]
    s = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T
    hits = [int(s[i].argmax()) == i for i in range(4)] + [
        int(s[:, i].argmax()) == i for i in range(4)
    ]
    assert float(diag.retrieval(a, b)) == pytest.approx(sum(hits) / 8)
