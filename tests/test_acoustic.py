"""Laws of the weight-free acoustic encoder; sounds are synthetic except in the last tests."""

from __future__ import annotations

import csv
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from models.encoders import Encoder, EncoderUnavailable, SpeechConfig
from models.encoders.acoustic import AcousticEncoder
from models.encoders.acoustic_features import column_names_of
from models.encoders.acoustic_frames import HOP, QUALITY, SPECTRAL, measure
from models.encoders.base import SAMPLE_RATE
from models.encoders.egemaps import EgemapsEncoder

EMODB = Path(__file__).resolve().parents[2] / "shared" / "data" / "emodb"
ENCODER = AcousticEncoder()


def tone(hertz: float, seconds: float = 1.0, harmonics: int = 15) -> np.ndarray:
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    parts = [np.sin(2 * np.pi * hertz * k * time + k) / k for k in range(1, harmonics + 1)]
    return (0.1 * np.sum(parts, 0)).astype(np.float32)


def speechlike(seed: int, seconds: float = 2.0, base: float = 140.0) -> np.ndarray:
    """Syllables at 4 Hz: gliding harmonics in bursts, breath noise, silence between them."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    glide = base * (1 + 0.2 * np.sin(2 * np.pi * 0.7 * time + seed))
    phase = 2 * np.pi * np.cumsum(glide) / SAMPLE_RATE
    voice = np.sum([np.sin(k * phase) / k**1.2 for k in range(1, 20)], 0)
    bursts = np.clip(np.sin(2 * np.pi * 4 * time + seed), 0, None) ** 0.5
    return (0.1 * bursts * voice + 0.003 * rng.standard_normal(len(time))).astype(np.float32)


def column(row: torch.Tensor, name: str) -> float:
    return float(row[ENCODER.names().index(name)])


def odd_sounds() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    second = SAMPLE_RATE
    return {
        "empty": np.zeros(0),
        "one sample": np.ones(1),
        "silence": np.zeros(second),
        "constant": np.full(second, 0.5),
        "tenth of a second": speechlike(1)[:1600],
        "five milliseconds": speechlike(1)[:80],
        "clipped": np.clip(50 * speechlike(2), -1, 1),
        "square": np.sign(tone(100.0)),
        "click": np.eye(1, second, 8000)[0],
        "half silent": np.concatenate([np.zeros(second), speechlike(3)]),
        "under the floor": 1e-7 * rng.standard_normal(second),
        "white noise": 0.1 * rng.standard_normal(second),
        "far beyond full scale": 1e4 * speechlike(4),
        "nyquist": np.tile([0.5, -0.5], second // 2),
    }


@pytest.mark.parametrize("name", list(odd_sounds()))
def test_odd_sounds_give_finite_moderate_numbers(name):
    rows = ENCODER.encode([odd_sounds()[name].astype(np.float32)])
    assert rows.shape == (1, *ENCODER.shape) and rows.dtype == torch.float32
    assert torch.isfinite(rows).all()
    assert rows.abs().max() < 1000  # nothing that would swamp a standardiser


def test_a_constant_is_silence():
    silence, constant = ENCODER.encode([odd_sounds()["silence"], odd_sounds()["constant"]])
    torch.testing.assert_close(silence, constant)


def test_a_constant_offset_changes_nothing_inside_the_sound():
    sound = speechlike(5)
    here, shifted = ENCODER.encode([sound, sound + np.float32(0.02)])
    assert (here - shifted).abs().max() < 0.05


def test_names_are_unique_and_one_per_column():
    names = ENCODER.names()
    assert len(set(names)) == len(names) == ENCODER.shape[0]
    assert {"voice_hnr_mean", "f0_range", "spectral_centroid_p90", "level_mean"} <= set(names)


def test_names_do_not_depend_on_the_sound():
    for sound in odd_sounds().values():
        names = column_names_of(measure(torch.tensor(sound, dtype=torch.float32)))
        assert names == ENCODER.names() and len(names) == ENCODER.shape[0]


def test_identity_is_json_and_carries_the_version():
    identity = ENCODER.identity()
    assert json.loads(json.dumps(identity)) == identity
    assert identity["encoder"] == "acoustic" and isinstance(identity["version"], int)


def test_it_is_an_encoder():
    assert isinstance(ENCODER, Encoder) and ENCODER.modality == "speech"


def test_another_model_name_is_refused():
    with pytest.raises(ValueError, match="'acoustic', got 'egemaps'"):
        AcousticEncoder(SpeechConfig(model="egemaps"))


def test_a_batch_equals_its_sounds_one_by_one_exactly():
    sounds = [speechlike(i, seconds=0.5 + 0.4 * i) for i in range(4)]
    together = ENCODER.encode(sounds)
    alone = torch.cat([ENCODER.encode([sound]) for sound in sounds])
    reverse = ENCODER.encode(sounds[::-1]).flip(0)
    assert torch.equal(together, alone) and torch.equal(together, reverse)


def test_twice_is_the_same_and_the_input_is_untouched():
    sound = speechlike(6)
    before = sound.copy()
    assert torch.equal(ENCODER.encode([sound]), ENCODER.encode([sound]))
    assert np.array_equal(sound, before)


def test_an_empty_batch_has_no_rows():
    assert ENCODER.encode([]).shape == (0, *ENCODER.shape)


@pytest.mark.parametrize("gain", [0.01, 0.3, 3.0])
def test_gain_moves_only_the_level_columns_and_those_by_its_decibels(gain):
    sound = speechlike(7)
    here, other = ENCODER.encode([sound, np.float32(gain) * sound])
    is_level = torch.tensor([name.startswith("level_") for name in ENCODER.names()])
    assert int(is_level.sum()) == 3
    torch.testing.assert_close(here[~is_level], other[~is_level], atol=2e-2, rtol=1e-3)
    moved = other[is_level] - here[is_level]
    torch.testing.assert_close(moved, torch.full((3,), 20 * math.log10(gain)), atol=1e-2, rtol=0)


@pytest.mark.parametrize(("before", "after"), [(8000, 0), (0, 5333), (77, 12345)])
def test_zeros_around_the_sound_change_nothing(before, after):
    sound = speechlike(8)
    assert torch.equal(ENCODER.encode([sound]), ENCODER.encode([np.pad(sound, (before, after))]))


def test_a_quiet_lead_in_changes_little():
    """In units of how far different sounds lie apart, column by column."""
    fade = np.clip(np.minimum(np.arange(32000), np.arange(32000)[::-1]) / 4000, 0, 1)
    sounds = [(fade * speechlike(i, base=110 + 40 * i)).astype(np.float32) for i in range(6)]
    quiet = 1e-4 * np.random.default_rng(0).standard_normal(4077).astype(np.float32)
    rows = ENCODER.encode(sounds)
    late = ENCODER.encode([np.concatenate([quiet, sound]) for sound in sounds])
    scale = rows.std(0) + 0.02 * rows.abs().mean(0) + 1e-3
    assert ((rows - late).abs() / scale).median() < 0.15


def test_loudness_that_follows_pitch_is_told_from_loudness_that_opposes_it():
    time = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    glide = 0.5 * np.sin(2 * np.pi * 1.5 * time)
    phase = 2 * np.pi * np.cumsum(150 * (1 + 0.4 * glide)) / SAMPLE_RATE
    voice = 0.1 * np.sum([np.sin(k * phase) / k for k in range(1, 15)], 0)
    rows = ENCODER.encode([(voice * np.exp(sign * glide)).astype("f4") for sign in (1, -1)])
    assert column(rows[0], "coupling_f0_loudness") > 0.9
    assert column(rows[1], "coupling_f0_loudness") < -0.9


def test_a_rising_sentence_has_rising_thirds():
    time = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    phase = 2 * np.pi * np.cumsum(120 + 60 * time) / SAMPLE_RATE
    row = ENCODER.encode([np.sin(phase).astype("f4") + np.sin(2 * phase).astype("f4")])[0]
    first, second, third = (column(row, f"f0_third_{i}") for i in range(3))
    assert first < -2 < abs(second) < 2 < third
    assert column(row, "f0_trend_0") > 2


@pytest.mark.parametrize("hertz", [80.0, 120.0, 200.0, 310.0, 450.0])
def test_pitch_of_a_harmonic_tone(hertz):
    contours = measure(torch.from_numpy(tone(hertz)))
    inside = slice(5, -5)
    assert contours.voiced[inside].all()
    assert (contours.f0[inside] - hertz).abs().max() < 0.01 * hertz
    row = ENCODER.encode([tone(hertz)])[0]
    assert abs(column(row, "f0_hertz") - hertz) < 0.01 * hertz
    assert abs(column(row, "f0_mean") - 12 * math.log2(hertz / 27.5)) < 0.2


def test_pitch_survives_a_missing_fundamental_and_noise():
    sound = tone(200.0) - tone(200.0, harmonics=1)
    noise = 0.02 * np.random.default_rng(0).standard_normal(len(sound))
    contours = measure(torch.from_numpy((sound + noise).astype(np.float32)))
    middle = torch.quantile(contours.f0[contours.voiced], 0.5)
    assert abs(float(middle) - 200) < 2 and contours.voiced.float().mean() > 0.9


def test_noise_is_unvoiced_and_a_tone_is_voiced():
    noise = 0.1 * np.random.default_rng(1).standard_normal(SAMPLE_RATE).astype(np.float32)
    rows = ENCODER.encode([noise.astype(np.float32), tone(150.0)])
    assert column(rows[0], "voiced_share") < 0.05 < 0.95 < column(rows[1], "voiced_share")


def test_breath_noise_lowers_the_harmonics_to_noise_ratio_and_the_cepstral_peak():
    noise = np.random.default_rng(2).standard_normal(SAMPLE_RATE).astype(np.float32)
    clear, breathy = ENCODER.encode([tone(150.0), tone(150.0) + 0.05 * noise])
    for name in ("voice_hnr_mean", "voice_cpp_mean", "voice_periodicity_mean"):
        assert column(breathy, name) < column(clear, name)


def test_unsteady_pitch_raises_jitter_and_unsteady_loudness_raises_shimmer():
    rng = np.random.default_rng(3)
    slow = np.repeat(rng.standard_normal(100), HOP)
    phase = 2 * np.pi * np.cumsum(150 * (1 + 0.03 * slow)) / SAMPLE_RATE
    rough = (0.1 * np.sum([np.sin(k * phase) / k for k in range(1, 15)], 0)).astype(np.float32)
    trembling = (tone(150.0) * (1 + 0.3 * np.clip(slow, -2, 2))).astype(np.float32)
    even, jittery, shimmery = ENCODER.encode([tone(150.0), rough, trembling])
    assert column(jittery, "jitter_mean") > 3 * column(even, "jitter_mean")
    assert column(shimmery, "shimmer_mean") > 3 * column(even, "shimmer_mean")


def test_a_brighter_voice_moves_every_tilt_measure_up():
    dull, bright = ENCODER.encode([tone(150.0), np.diff(tone(150.0), prepend=np.float32(0))])
    assert column(bright, "spectral_centroid_mean") > column(dull, "spectral_centroid_mean")
    assert column(bright, "spectral_alpha_ratio_mean") < column(dull, "spectral_alpha_ratio_mean")
    assert column(bright, "spectral_hammarberg_mean") < column(dull, "spectral_hammarberg_mean")


def test_rhythm_counts_bursts_and_pauses():
    gate = (np.arange(2 * SAMPLE_RATE) % 8000 < 4000).astype(np.float32)  # 2 bursts a second
    row = ENCODER.encode([(tone(150.0, seconds=2.0) * gate).astype(np.float32)])[0]
    assert abs(column(row, "voiced_per_second") - 4 / 1.75) < 0.3  # the last pause is trimmed
    assert abs(column(row, "voiced_seconds_mean") - 0.25) < 0.05
    assert 0.2 < column(row, "pause_seconds_mean") < 0.28
    assert 0.3 < column(row, "pause_share") < 0.45


def test_modulation_peaks_where_the_sound_is_modulated():
    time = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    noise = np.random.default_rng(4).standard_normal(len(time))
    for rate, band in ((3.0, "2_4"), (6.0, "4_8"), (12.0, "8_16")):
        sound = (0.1 * noise * (1 + 0.9 * np.sin(2 * np.pi * rate * time))).astype(np.float32)
        row = ENCODER.encode([sound])[0]
        heights = {
            other: column(row, f"modulation_{other}hz_3")
            for other in ("1_2", "2_4", "4_8", "8_16", "16_32")
        }
        assert max(heights, key=lambda other: heights[other]) == band


def test_frames_have_a_hundred_rows_a_second_and_known_columns():
    frames = ENCODER.encode_frames([tone(200.0, 1.5), speechlike(9, 1.0)])
    columns = 26 + 16 + 1 + len(SPECTRAL) + 2 + len(QUALITY)
    assert [f.shape[1] for f in frames] == [columns] * 2
    assert abs(len(frames[0]) - 150) <= 5 and all(torch.isfinite(f).all() for f in frames)


@pytest.mark.parametrize(
    ("sound", "sentence"),
    [
        (np.zeros((2, 800), np.float32), r"sound 1 .* shape \(2, 800\); .* mono sound"),
        (np.array([0.0, np.nan], np.float32), "sound 1 .* NaN or infinite samples"),
    ],
)
def test_unusable_sounds_are_named(sound, sentence):
    with pytest.raises(ValueError, match=sentence):
        ENCODER.encode([speechlike(0, 0.2), sound])


def test_a_missing_opensmile_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "opensmile", None)
    with pytest.raises(EncoderUnavailable, match=r"pip install opensmile.*or use model 'acoustic'"):
        EgemapsEncoder()


@pytest.mark.extras("opensmile")
def test_egemaps_is_an_encoder_with_finite_rows():
    encoder = EgemapsEncoder(SpeechConfig(model="egemaps"))
    assert isinstance(encoder, Encoder)
    rows = encoder.encode([speechlike(1), np.zeros(1600, np.float32)])
    assert rows.shape == (2, 88) == (2, len(encoder.names())) and torch.isfinite(rows).all()
    torch.testing.assert_close(rows[:1], encoder.encode([speechlike(1)]))
    assert json.dumps(encoder.identity())


def emodb(labels: tuple[str, ...], step: int) -> tuple[list[dict], list[np.ndarray]]:
    if not (EMODB / "manifest.csv").exists():
        pytest.skip("../shared/data/emodb is absent")
    soundfile = pytest.importorskip("soundfile")
    with open(EMODB / "manifest.csv", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["label"] in labels][::step]
    return rows, [soundfile.read(EMODB / row["path"], dtype="float32")[0] for row in rows]


def test_real_anger_and_boredom_part_on_unseen_speakers():
    """The plainest fact about emotional speech: arousal is heard in pitch, effort and speed."""
    linear = pytest.importorskip("sklearn.linear_model")
    rows, sounds = emodb(("anger", "boredom"), step=2)
    features = ENCODER.encode(sounds).numpy()
    features = (features - features.mean(0)) / (features.std(0) + 1e-6)
    label = np.array([row["label"] == "anger" for row in rows])
    held_out = np.array([row["speaker"] in ("03", "08", "09", "10") for row in rows])
    model = linear.LogisticRegression(C=0.01, max_iter=500)
    model.fit(features[~held_out], label[~held_out])
    assert model.score(features[held_out], label[held_out]) > 0.9


def test_real_pitch_parts_men_from_women():
    rows, sounds = emodb(("neutral",), step=3)
    f0 = np.array([column(row, "f0_hertz") for row in ENCODER.encode(sounds)])
    male = np.array([row["sex"] == "m" for row in rows])
    assert 85 < np.median(f0[male]) < 155 < 165 < np.median(f0[~male]) < 260
    assert (f0[male].max() < 160) and (f0[~male].min() > 150)


def test_real_speech_cut_half_a_frame_later_keeps_its_columns():
    _, sounds = emodb(("anger", "sadness", "neutral"), step=6)
    rows = ENCODER.encode(sounds).double().T
    late = ENCODER.encode([sound[77:] for sound in sounds]).double().T
    rows, late = (x - x.mean(1, keepdim=True) for x in (rows, late))
    agree = (rows * late).sum(1) / (rows.norm(dim=1) * late.norm(dim=1) + 1e-9)
    assert agree.median() > 0.99 and (agree > 0.9).double().mean() > 0.93
