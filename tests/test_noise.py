"""Noise: tables against closed forms, rates of what is drawn, and what must never happen."""

import math
import re

import numpy as np
import pytest
import torch

from noise import SCHEDULES, Corruption, NoiseConfig, alpha_bar, draw_mix, modality_dropout
from noise.config import SCHEDULE_NAMES


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_names_in_the_config_are_the_schedules_there_are():
    assert set(SCHEDULE_NAMES) == set(SCHEDULES)


@pytest.mark.parametrize("steps", [1, 7, 100, 1000])
def test_schedules_equal_their_closed_forms(steps):
    b0, b1 = 1e-3, 0.1
    t = np.arange(steps)
    r = t / max(steps - 1, 1)
    f = np.cos((np.arange(steps + 1) / steps + 0.008) / 1.008 * math.pi / 2) ** 2
    betas = {
        "linear": b0 + r * (b1 - b0),
        "scaled_linear": (math.sqrt(b0) + r * (math.sqrt(b1) - math.sqrt(b0))) ** 2,
        "cosine": np.minimum(1 - f[1:] / f[:-1], 0.999),
        "sigmoid": (b1 - b0) / (1 + np.exp(-(-6 + 12 * r))) + b0,
    }
    for name, beta in betas.items():
        table = alpha_bar(name, steps, b0, b1).numpy()
        np.testing.assert_allclose(table, np.cumprod(1 - beta), rtol=1e-5, atol=1e-9)
        assert (np.diff(table) < 0).all()


def test_schedule_values_of_the_published_configuration():
    table = alpha_bar("scaled_linear", 100, 1e-3, 0.1)
    expected = torch.tensor([0.999, 0.877, 0.525, 0.163, 0.022])
    torch.testing.assert_close(table[[0, 25, 50, 75, 99]], expected, atol=6e-4, rtol=0)
    cosine = alpha_bar("cosine", 100, 1e-3, 0.1)  # closed form where no beta is capped
    f0, f50 = (math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2 for u in (0, 0.5))
    assert float(cosine[49]) == pytest.approx(f50 / f0, rel=1e-5)


def test_an_unknown_schedule_names_the_known_and_the_nearest():
    sentence = (
        "schedule must be one of linear, scaled_linear, cosine, sigmoid, got 'cosin'"
        "; did you mean 'cosine'?"
    )
    with pytest.raises(ValueError, match=re.escape(sentence)):
        NoiseConfig(schedule="cosin")
    with pytest.raises(ValueError, match=re.escape(sentence)):
        alpha_bar("cosin", 10, 0.1, 0.2)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"steps": -1}, "steps must be >= 0, got -1"),
        ({"beta_start": 0.5}, "0 < beta_start <= beta_end < 1, got 0.5 and 0.1"),
        ({"abar_min": 1.0}, "abar_min must be in [0, 1), got 1.0"),
        ({"impulse": -0.1}, "impulse must be in [0, 1), got -0.1"),
        ({"impulse": 0.6, "dim_mask": 0.6}, "impulse + dim_mask must be at most 1"),
        ({"modality_dropout": 1.0}, "modality_dropout must be in [0, 1), got 1.0"),
        ({"mixup_alpha": -1.0}, "mixup_alpha must be >= 0, got -1.0"),
    ],
)
def test_a_bad_setting_is_one_sentence_naming_the_field(change, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        NoiseConfig(**change)


def gaussian_only(**change):
    return NoiseConfig(impulse=0.0, dim_mask=0.0, **change)


def test_each_sample_draws_its_own_timestep():
    corrupt = Corruption(gaussian_only(abar_min=0.0))
    t = corrupt.timesteps((5000,), seeded())
    assert len(t.unique()) == 100
    noisy = corrupt(torch.full((2000, 400), 5.0), seeded())
    share = noisy.mean(1) / 5  # sqrt(abar_t) of each row
    assert share.std() > 0.2  # one timestep for the batch would give 0.01


def test_noise_keeps_the_variance_of_standardised_features():
    x = torch.randn(4000, 64, generator=seeded(1))
    assert float(Corruption(gaussian_only())(x, seeded()).var()) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("schedule", SCHEDULE_NAMES)
@pytest.mark.parametrize("floor", [0.3, 0.5, 0.9])
def test_no_view_falls_below_the_signal_floor(schedule, floor):
    corrupt = Corruption(gaussian_only(schedule=schedule, abar_min=floor))
    assert float((corrupt.signal**2).min()) >= floor - 1e-6
    torch.testing.assert_close(corrupt.signal**2 + corrupt.noise**2, torch.ones_like(corrupt.noise))
    x = torch.full((500, 2000), 10.0)
    share = (Corruption(gaussian_only(schedule=schedule, abar_min=floor))(x, seeded()) / 10).mean(1)
    assert float(share.min()) > math.sqrt(floor) - 0.02


def test_a_floor_that_leaves_nothing_is_refused():
    with pytest.raises(ValueError, match=r"abar_min=0.9999 leaves no timestep .* set steps=0"):
        Corruption(NoiseConfig(abar_min=0.9999))


@pytest.mark.parametrize("p", [0.05, 0.3])
def test_impulse_is_the_probability_of_an_impulse(p):
    config = NoiseConfig(steps=0, impulse=p, dim_mask=0.0, impulse_size=3.0)
    x = torch.zeros(400, 500)
    y = Corruption(config)(x, seeded())
    hit = y != 0
    sigma = math.sqrt(p * (1 - p) / x.numel())
    assert float(hit.float().mean()) == pytest.approx(p, abs=3 * sigma)
    assert set(y[hit].unique().tolist()) == {-3.0, 3.0}
    assert float((y[hit] > 0).float().mean()) == pytest.approx(0.5, abs=0.02)


def test_impulse_signs_do_not_follow_the_signal_and_masks_keep_their_rate():
    config = NoiseConfig(impulse=0.1, dim_mask=0.2)
    x = torch.full((400, 500), 1.5)
    y = Corruption(config)(x, seeded())
    assert float((y == 0).float().mean()) == pytest.approx(0.2, abs=0.003)
    spikes = y[y.abs() == 3.0]
    assert len(spikes) / y.numel() == pytest.approx(0.1, abs=0.003)
    assert float((spikes > 0).float().mean()) == pytest.approx(0.5, abs=0.02)


def test_corruption_is_a_function_of_its_generator_and_leaves_its_input_alone():
    x = torch.randn(8, 16, generator=seeded(3))
    kept = x.clone()
    corrupt = Corruption()
    assert torch.equal(corrupt(x, seeded(1)), corrupt(x, seeded(1)))
    assert not torch.equal(corrupt(x, seeded(1)), corrupt(x, seeded(2)))
    silent = Corruption(NoiseConfig(steps=0, impulse=0.0, dim_mask=0.0))(x, seeded())
    assert torch.equal(silent, x) and silent.data_ptr() != x.data_ptr()
    assert torch.equal(x, kept)


def test_frames_of_an_utterance_share_its_timestep():
    corrupt = Corruption(gaussian_only(abar_min=0.0))
    y = corrupt(torch.full((50, 6, 4000), 5.0), seeded())  # (B, T, D)
    share = y.mean(-1) / 5
    assert float(share.std(1).max()) < 0.02 < float(share.mean(1).std())
    y = corrupt(torch.full((50, 6, 4000), 5.0), seeded(), sample_dims=2)  # (E, B, D)
    assert float((y.mean(-1) / 5).std(1).min()) > 0.05


def test_modality_dropout_never_hides_all_and_never_invents():
    present = torch.rand(5000, 3, generator=seeded(5)) > 0.4
    for p in (0.0, 0.2, 0.99):
        kept = modality_dropout(present, p, seeded())
        assert not (kept & ~present).any()
        assert torch.equal(kept.any(1), present.any(1))
    assert torch.equal(modality_dropout(present, 0.0, seeded()), present)


def test_modality_dropout_rate_and_fairness():
    kept = modality_dropout(torch.ones(40_000, 2, dtype=torch.bool), 0.2, seeded())
    # hidden with p = 0.2 each, but of the 4 % where both would go one comes back
    torch.testing.assert_close(
        kept.float().mean(0), torch.full((2,), 0.82), atol=3 * 0.4 / 200, rtol=0
    )
    last = modality_dropout(torch.ones(30_000, 3, dtype=torch.bool), 0.999, seeded())
    torch.testing.assert_close(last.float().mean(0), torch.full((3,), 1 / 3), atol=0.01, rtol=0)


def test_mixup_shares_follow_beta_and_favour_the_row_itself():
    mix = draw_mix(20_000, 0.4, seeded())
    assert float(mix.share.min()) >= 0.5 and float(mix.share.max()) <= 1
    # E[l (1 - l)] = a / (2 (2a + 1)) for Beta(a, a), unchanged by max(l, 1 - l)
    spread = float((mix.share * (1 - mix.share)).mean())
    assert spread == pytest.approx(0.4 / (2 * 1.8), rel=0.03)
    assert torch.equal(mix.partner.sort()[0], torch.arange(20_000))
    assert draw_mix(1000, 0.01, seeded()).share.isfinite().all()


def test_mixup_blends_features_and_targets_alike_but_not_with_a_missing_row():
    mix = draw_mix(6, 1.0, seeded(2))
    x, y = torch.randn(6, 3, generator=seeded()), torch.eye(6)
    for i in range(6):
        j, s = int(mix.partner[i]), float(mix.share[i])
        torch.testing.assert_close(mix(x)[i], s * x[i] + (1 - s) * x[j])
        assert float(mix(y)[i].sum()) == pytest.approx(1)
    present = torch.tensor([True, False, True, True, False, True])
    x = torch.where(present[:, None], x, torch.nan)
    mixed = mix(x, present)
    assert torch.equal(mixed.isnan().any(1), ~present)
    assert torch.equal(draw_mix(6, 0.0)(y), y)
