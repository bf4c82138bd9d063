"""EDA, temperature and heart beats: twenty features, and nothing dropped for the lack of one."""

import numpy as np
import pytest
from corpus_trees import kemdy19, kemdy20

from models.encoders import ArrayConfig, build_array_encoder
from semi.data.biosignal_features import (
    EDA,
    FEATURES,
    band_power,
    entropy,
    morlet,
    signal_features,
    standard_moment,
)
from semi.data.biosignals import biosignal_table
from semi.data.corpora import corpus_manifest

F001, F002 = "Sess01_script01_User001F_001", "Sess01_script01_User001F_002"


def test_there_are_twenty_features():
    """Defect 000-7: an off-by-one there leaves 19 of them to the model."""
    assert [len(names) for names in FEATURES.values()] == [12, 5, 3]
    assert len({name for names in FEATURES.values() for name in names}) == 20


def test_kemdy20_recordings_become_a_table_with_nan_where_a_signal_is_missing(tmp_path):
    table = biosignal_table(kemdy20(tmp_path)).set_index("id")
    assert list(table.index) == [F001, F002, "Sess17_script01_User034M_001"]  # prefix mended
    assert table.shape == (3, 20)
    assert np.isfinite(table.loc[F001].to_numpy(dtype=float)).all()
    assert table.loc[F001, "ibi_heart_rate"] == pytest.approx(80.0)  # 60 / 0.75 s
    assert table.loc[F002, list(FEATURES["ibi"])].isna().all()
    assert np.isfinite(table.loc[F002, list(EDA)].to_numpy(dtype=float)).all()
    temp = table.loc[F001]
    assert temp["temp_range"] == pytest.approx(temp["temp_max"] - temp["temp_min"])
    assert 0.99 < temp["temp_mean"] < 1.01


def test_defect_000_utterances_without_beats_stay_in_the_table_and_in_the_other_signals(tmp_path):
    root, out = kemdy20(tmp_path), tmp_path / "bio"
    table, notes = corpus_manifest("kemdy20", root, biosignals=str(out))
    assert len(table) == 6
    held = {n: set(np.load(out / f"{n}.npz")["id"]) for n in ("eda", "temp", "ibi", "bio")}
    assert held["eda"] == {F001, F002, "Sess17_script01_User034M_001"}
    assert held["ibi"] == held["bio"] == {F001}
    assert any("1 of 5 recordings are empty" in note for note in notes)
    assert any("IBI Sess01_script01_User002M.csv" in note for note in notes)
    row = table.set_index("id").loc[F001]
    assert row["eda"].endswith("Sess01_script01_User001F.csv") and "EDA" in row["eda"]
    assert table.set_index("id").loc["Sess01_script01_User002M_001", "ibi"] is None


def test_the_written_arrays_are_what_the_precomputed_encoder_reads(tmp_path):
    corpus_manifest("kemdy20", kemdy20(tmp_path), biosignals=str(tmp_path / "bio"))
    encoder = build_array_encoder(ArrayConfig(path=str(tmp_path / "bio" / "bio.npz")), modality="b")
    assert encoder.encode([F001]).shape == (1, 20)
    assert encoder.path_of(F002) is None  # a missing modality, not an error


def test_kemdy19_recordings_count_for_the_speaker_whose_wrist_it_was(tmp_path):
    root = kemdy19(tmp_path)
    table = biosignal_table(root).set_index("id")
    assert list(table.index) == ["Sess01_script01_F001", "Sess01_script01_M001"]
    assert table["ibi_mean"].isna().all() and table["eda_mean"].notna().all()
    _, notes = corpus_manifest("kemdy19", root, biosignals=str(tmp_path / "bio"))
    assert np.load(tmp_path / "bio" / "bio.npz")["bio"].shape == (2, 17)
    assert any("80 samples of another speaker's segment not used" in note for note in notes)


def test_a_corpus_without_recordings_says_so(tmp_path):
    root = kemdy20(tmp_path)
    for kind in ("EDA", "TEMP", "IBI"):
        (root / "KEMDy20_v1_1" / kind).rename(tmp_path / f"{kind}_away")
    table, notes = corpus_manifest("kemdy20", root / "KEMDy20_v1_1", biosignals=str(tmp_path / "b"))
    assert len(table) == 6 and any("no biosignals" in note for note in notes)
    assert not (tmp_path / "b").exists()


def test_features_of_one_recording_do_not_depend_on_its_unit_nor_its_other_utterances():
    rng = np.random.default_rng(0)
    values = 0.4 + np.cumsum(rng.normal(0, 0.01, 400))
    first, second = np.arange(40, 80), np.arange(200, 230)
    both = signal_features("eda", values, {"a": first, "b": second})
    alone = signal_features("eda", 1000 * values, {"a": first})
    np.testing.assert_allclose(both["a"], alone["a"], rtol=1e-6)
    assert not np.allclose(both["a"], both["b"])


def test_constant_and_one_sample_utterances_stay_finite():
    for values in (np.full(50, 0.3), np.zeros(50), np.arange(50.0)):
        for kind in ("eda", "temp"):
            found = signal_features(kind, values, {"a": np.array([7]), "b": np.arange(50)})
            assert all(np.isfinite(v).all() for v in found.values())


def test_the_wavelet_answers_its_own_frequency_most():
    time = np.arange(4000)
    for scale in (4, 16, 64):
        tone = np.cos(5 / scale * time)
        energy = {s: (morlet(tone, s) ** 2)[1500:2500].sum() / s for s in (2, 4, 8, 16, 32, 64)}
        assert max(energy, key=energy.__getitem__) == scale
    assert len(morlet(np.ones(3), 64)) == 3


@pytest.mark.extras("pywt")
def test_the_wavelet_agrees_with_pywavelets():
    import pywt

    signal = np.random.default_rng(1).normal(size=800)
    for scale in (16, 64):
        theirs = pywt.cwt(signal, [scale], "morl", precision=16)[0][0]
        ours = morlet(signal, scale)  # theirs lies half a sample off
        assert (ours**2).sum() == pytest.approx((theirs**2).sum(), rel=0.02)
        assert np.corrcoef(theirs, ours)[0, 1] > 0.98


def test_band_power_of_a_tone_inside_and_outside_of_the_band():
    time = np.arange(400) / 4.0
    inside, outside = np.sin(2 * np.pi * 0.2 * time), np.sin(2 * np.pi * 1.5 * time)
    assert band_power(inside, 4.0) == pytest.approx(0.5, rel=0.02)
    assert band_power(outside, 4.0) < 1e-3


def test_moments_and_entropy_against_their_definitions():
    part = np.array([1.0, 2.0, 2.0, 7.0])
    z = (part - part.mean()) / part.std()
    assert standard_moment(part, 3) == pytest.approx(sum(z**3) / 4)
    assert entropy(np.ones(8)) == pytest.approx(np.log(8)) and entropy(np.zeros(3)) == 0.0
