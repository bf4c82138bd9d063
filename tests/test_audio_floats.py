"""Floats beyond full scale: kept in shape, read as the integers they were, or refused by place."""

import numpy as np
import pytest
from speech_files import reason, save, speech

from semi.data.audio import load_audio


def write(path, samples, rate=16_000, subtype="FLOAT"):
    return save(path, samples, rate, subtype=subtype)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("size", [1e30, -1e30, 3e9, 1e6, 1000.0, 20.0])
def test_a_sample_that_is_no_sound_is_named(tmp_path, rate, size):
    wave = np.resize(speech(2), 2 * rate)
    wave[12_345] = size
    told = reason(write(tmp_path / "a.wav", wave, rate))
    place = f"sample 12345 (at {12_345 / rate:.3f} s)"
    assert told.startswith(f"not a sound: {place} is {abs(size):.3g} in size, where 99.9 % of ")
    assert reason(write(tmp_path / "d.wav", wave, rate, "DOUBLE")) == told


def test_several_of_them_and_one_in_the_second_channel(tmp_path):
    wave = speech(2)
    wave[100:110] = 1e20
    assert "sample 100 (at 0.006 s)" in reason(write(tmp_path / "a.wav", wave))
    stereo = np.stack([speech(2), speech(2)], 1)
    stereo[777, 1] = -1e12
    assert "sample 777 (at 0.049 s)" in reason(write(tmp_path / "b.wav", stereo))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_named_by_its_place_in_the_file(tmp_path, bad):
    wave = np.stack([speech(3), speech(3)], 1)
    wave[30_000, 1] = bad
    path = write(tmp_path / "a.wav", wave)
    told = "not finite: sample 30000 (at 1.875 s) is NaN or infinite"
    assert reason(path) == told
    assert reason(path, start=1.5) == told
    assert len(load_audio(path, end=1.5)) == 24_000


@pytest.mark.parametrize("full", [2.0**15, 2.0**23, 2.0**31])
def test_integers_that_were_stored_as_floats_have_the_level_of_the_integers(tmp_path, full):
    wave = 0.3 * speech(2)
    whole = np.round(wave * 32767) / 32768
    got = load_audio(write(tmp_path / "a.wav", whole * full, subtype="DOUBLE"))
    assert np.allclose(got, whole, atol=1e-6)


@pytest.mark.parametrize("gain", [1.5, 4.0, 15.0])
def test_overdriven_floats_keep_their_shape(tmp_path, gain):
    wave = speech(2) / np.abs(speech(2)).max()
    got = load_audio(write(tmp_path / "a.wav", gain * wave))
    assert np.allclose(got, wave, atol=1e-6)
