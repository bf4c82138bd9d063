"""Audio: any rate, depth and channel count becomes 16 kHz mono float32, or a reason."""

import builtins

import numpy as np
import pytest
import soundfile

from semi.data.audio import audio_sha256, check_audio, load_audio, row_seconds
from semi.data.audio_decoders import SAMPLE_RATE
from semi.data.config import DataConfig
from semi.data.manifest import load_manifest
from semi.errors import AudioError


def tone(rate=16_000, seconds=1.0, hertz=440.0, level=0.5):
    return (level * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)).astype("f4")


def save(path, samples, rate=16_000, **kwargs):
    soundfile.write(path, samples, rate, **kwargs)
    return path


def reason(path, **kwargs):
    with pytest.raises(AudioError) as caught:
        load_audio(path, **kwargs)
    return str(caught.value)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000])
def test_every_rate_gives_the_same_tone(tmp_path, rate):
    got = load_audio(save(tmp_path / "a.wav", tone(rate), rate))
    assert got.dtype == np.float32 and got.ndim == 1 and abs(len(got) - 16_000) <= 1
    inner = slice(2000, 14_000)
    assert np.abs(got[inner] - tone()[inner]).max() < 2e-3


def test_the_length_of_a_row_is_what_its_columns_say_else_its_file(tmp_path):
    save(tmp_path / "a.wav", tone(seconds=2.5))
    rows = ["u0,a.wav,7,,,", "u1,a.wav,,0.5,2,", "u2,a.wav,,,,", "u3,a.wav,,1,,", "u4,,,,,so"]
    (tmp_path / "m.csv").write_text("\n".join(["id,audio,seconds,start,end,text", *rows]) + "\n")
    table = load_manifest(tmp_path / "m.csv").table
    told = [7.0, 1.5, 2.5, 1.5, np.nan]
    assert row_seconds(table) == pytest.approx(told, nan_ok=True)
    unread = [7.0, 1.5, np.nan, np.nan, np.nan]
    assert row_seconds(table, most=1) == pytest.approx(unread, nan_ok=True)
    (tmp_path / "a.wav").unlink()
    assert row_seconds(table) == pytest.approx(unread, nan_ok=True)


def test_resampling_is_band_limited(tmp_path):
    got = load_audio(save(tmp_path / "a.wav", tone(48_000, hertz=11_000.0), 48_000))
    assert np.abs(got[2000:-2000]).max() < 1e-3  # above 8 kHz: nothing may fold back


@pytest.mark.parametrize(
    ("name", "kwargs", "tolerance"),
    [
        ("a.wav", {"subtype": "PCM_16"}, 1e-4),
        ("a.wav", {"subtype": "PCM_24"}, 1e-6),
        ("a.wav", {"subtype": "PCM_32"}, 1e-6),
        ("a.wav", {"subtype": "PCM_U8"}, 1e-2),
        ("a.wav", {"subtype": "FLOAT"}, 1e-6),
        ("a.wav", {"subtype": "ULAW"}, 2e-2),
        ("A.FLAC", {"format": "FLAC", "subtype": "PCM_24"}, 1e-6),
        ("a.ogg", {"format": "OGG", "subtype": "VORBIS"}, 5e-2),
        ("a.opus", {"format": "OGG", "subtype": "OPUS"}, 1e-1),
        ("a.mp3", {"format": "MP3"}, 5e-2),
    ],
)
def test_every_kind_of_file_is_read(tmp_path, name, kwargs, tolerance):
    got = load_audio(save(tmp_path / name, tone(), **kwargs))
    assert abs(len(got) - 16_000) < 2500  # MP3 pads
    inner = got[3000:12_000]
    best = min(np.abs(inner - tone(seconds=2)[s : s + 9000]).max() for s in range(3000 - 80, 3080))
    assert best < tolerance


def test_channels_become_their_mean_and_cancelling_ones_do_not_become_silence(tmp_path):
    stereo = np.stack([tone(44_100), 0 * tone(44_100)], axis=1)
    got = load_audio(save(tmp_path / "a.wav", stereo, 44_100, subtype="PCM_24"))
    assert abs(np.abs(got).max() - 0.25) < 1e-2
    opposed = np.stack([tone(), -tone()], axis=1)
    assert np.abs(load_audio(save(tmp_path / "b.wav", opposed))).max() > 0.4
    six = np.repeat(tone()[:, None], 6, axis=1)
    assert np.allclose(load_audio(save(tmp_path / "c.wav", six)), tone(), atol=1e-4)


def test_full_scale_and_overdriven_float_stay_in_range(tmp_path):
    clipped = np.clip(8 * tone(44_100), -1, 1)
    assert np.abs(load_audio(save(tmp_path / "a.wav", clipped, 44_100))).max() <= 1.0
    loud = load_audio(save(tmp_path / "b.wav", 4 * tone(), subtype="FLOAT"))
    assert np.abs(loud).max() == pytest.approx(1.0, abs=1e-3)
    assert np.corrcoef(loud, tone())[0, 1] > 0.9999  # scaled, not clipped


def test_every_bad_file_is_refused_with_its_reason(tmp_path):
    nan = tone()
    nan[5] = np.nan
    (tmp_path / "zero.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_bytes(b"this is no audio at all, not even nearly")
    whole = save(tmp_path / "whole.flac", tone(seconds=3)).read_bytes()
    (tmp_path / "cut.flac").write_bytes(whole[:40])
    (tmp_path / "folder.wav").mkdir()
    cases = {
        tmp_path / "none.wav": "missing: no such file",
        tmp_path / "zero.wav": "empty: the file has 0 bytes",
        tmp_path / "text.wav": "unreadable: ",
        tmp_path / "cut.flac": "",
        tmp_path / "folder.wav": "unreadable: Is a directory",
        save(tmp_path / "none_in.wav", tone()[:0]): "empty: the file holds no samples",
        save(tmp_path / "silent.wav", 0 * tone()): "silent: ",
        save(tmp_path / "offset.wav", 0 * tone() + 0.25): "silent: ",
        save(tmp_path / "nan.wav", nan, subtype="FLOAT"): "not finite: ",
        save(tmp_path / "inf.wav", np.full(9000, np.inf), subtype="FLOAT"): "not finite: ",
        save(tmp_path / "short.wav", tone(seconds=0.05)): "too short: 0.050 s",
    }
    for path, expected in cases.items():
        assert reason(path).startswith(expected), path
    assert reason(save(tmp_path / "l.wav", tone(seconds=3)), max_seconds=2) == (
        "too long: 3.0 s, data.max_seconds is 2"
    )


def test_a_file_damaged_in_the_middle_is_refused_or_shorter_never_zero_filled(tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.2, 48_000).astype("f4")
    for name in ("a.flac", "a.wav"):
        path = save(tmp_path / name, noise)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        try:
            got = load_audio(path)
        except AudioError as error:
            assert str(error).startswith("unreadable")
        else:
            assert len(got) < 30_000 and np.abs(got[-100:]).max() > 0.01


def test_a_wav_that_ends_early_is_refused_and_one_written_into_a_pipe_is_read(tmp_path):
    path = save(tmp_path / "a.wav", tone(seconds=3))
    data = bytearray(path.read_bytes())
    path.write_bytes(data[:40_000])
    told = f"unreadable: cut short, 39956 of {len(data) - 44} bytes are there"
    assert reason(path) == told
    (tmp_path / "m.csv").write_text("id,audio\nu,a.wav\n")
    found = check_audio(load_manifest(tmp_path / "m.csv"), DataConfig())
    assert [q.reason for q in found] == [told]
    data[40:44] = b"\xff" * 4
    path.write_bytes(data)
    assert len(load_audio(path)) == 48_000


def test_an_absurdly_long_file_is_refused_by_its_header_alone(tmp_path, monkeypatch):
    path = save(tmp_path / "a.wav", tone(seconds=3))
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda *a, **k: pytest.fail("decoded"))
    assert reason(path, max_seconds=1).startswith("too long")


def test_start_and_end_cut_seconds_out_of_a_long_file(tmp_path):
    ramp = np.linspace(0.0, 0.9, 160_000, dtype="f4")
    path = save(tmp_path / "a.wav", ramp, subtype="FLOAT")
    got = load_audio(path, start=2.0, end=3.5, max_seconds=2)
    assert np.allclose(got, ramp[32_000:56_000], atol=1e-6)
    assert len(load_audio(path, start=9.0, end=float("nan"))) == 16_000
    assert reason(path, start=11.0, end=12.0).startswith("empty: start 11 s to end 12 s lies")


@pytest.mark.parametrize(
    "head", [b"\0\0\0\x20ftypM4A mp42", b"\x1a\x45\xdf\xa3 webm ", b"\xff\xf1aac frame bytes"]
)
def test_what_libsndfile_cannot_read_names_the_extra(tmp_path, monkeypatch, head):
    real = builtins.__import__

    def without_av(name, *args, **kwargs):
        if name == "av":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_av)
    (tmp_path / "a.wav").write_bytes(head + bytes(100))
    assert "pip install 'semi-emotion[m4a]'" in reason(tmp_path / "a.wav")


@pytest.mark.extras("av")
@pytest.mark.parametrize(("ending", "codec"), [("m4a", "aac"), ("webm", "libopus")])
def test_what_libsndfile_cannot_read_is_read_with_the_extra(tmp_path, ending, codec):
    path = encoded(tmp_path / f"a.{ending}", codec, tone(48_000, seconds=2.0))
    got = load_audio(path)
    assert got.dtype == np.float32 and abs(len(got) - 32_000) < 2_000  # a codec pads its ends
    inner = got[8_000:24_000]
    assert np.abs(np.fft.rfft(inner)).argmax() == 440
    assert 0.34 < np.median(np.abs(inner)) < 0.37  # 0.5 sin 45; FFmpeg's AAC puts peaks in a frame
    assert len(load_audio(path, start=0.5, end=1.5)) == 16_000
    assert reason(path, max_seconds=1).startswith("too long")
    path.write_bytes(path.read_bytes()[:60] + bytes(200))
    assert reason(path).startswith("unreadable")


def encoded(path, codec, samples, rate=48_000):
    """Writes samples (frames,) with PyAV, as a telephone or a browser would."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        fitting = av.AudioResampler(stream.format.name, "mono", rate, stream.frame_size or 960)
        frames = [f for given in (frame, None) for f in fitting.resample(given)]
        for given in (*frames, None):
            container.mux(stream.encode(given))
    return path


def test_the_hash_follows_the_content_and_the_span_only(tmp_path):
    first = save(tmp_path / "a.wav", tone())
    second = save(tmp_path / "b.wav", tone())
    other = save(tmp_path / "c.wav", tone(hertz=441.0))
    assert audio_sha256(first) == audio_sha256(second) != audio_sha256(other)
    assert audio_sha256(first) != audio_sha256(first, start=0.1)
    with pytest.raises(AudioError, match="missing: no such file"):
        audio_sha256(tmp_path / "none.wav")


def test_the_quick_check_quarantines_by_header_and_goes_on(tmp_path):
    save(tmp_path / "good.wav", tone())
    save(tmp_path / "short.wav", tone(seconds=0.01))
    (tmp_path / "bad.wav").write_bytes(b"nonsense, not audio")
    (tmp_path / "m.csv").write_text("audio,text\ngood.wav,x\nshort.wav,x\nbad.wav,x\n,only text\n")
    steps = []
    found = check_audio(
        load_manifest(tmp_path / "m.csv"), DataConfig(), lambda done, of: steps.append((done, of))
    )
    assert [(q.id, q.reason.split(":")[0]) for q in found] == [
        ("short", "too short"),
        ("bad", "unreadable"),
    ]
    assert steps == [(1, 3), (2, 3), (3, 3)]


def test_16_khz_is_left_untouched(tmp_path):
    samples = tone()
    assert np.array_equal(load_audio(save(tmp_path / "a.wav", samples, subtype="FLOAT")), samples)
    assert SAMPLE_RATE == 16_000
