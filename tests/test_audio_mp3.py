"""MP3: every frame that is there is used, whatever a header says; a file cut short is refused."""

import inspect
import io
import struct

import numpy as np
import pytest
import soundfile
from speech_files import half, likeness, reason, save, speech, without_info

from semi.data.audio import check_audio, load_audio
from semi.data.config import DataConfig
from semi.data.manifest import load_manifest
from semi.data.mpeg_frames import frame_header, info_frame, mpeg_streams
from semi.errors import AudioError

COVER = b"ID3\x04\x00\x00" + bytes([0, 6, 0, 0]) + bytes(6 << 14)  # a tag of 96 kB


def mp3(path, samples, rate=16_000, **words):
    return save(path, samples, rate, format="MP3", **words)


needs_rates = pytest.mark.skipif(
    "bitrate_mode" not in inspect.signature(soundfile.write).parameters,
    reason="soundfile before 0.13 writes mp3 of no variable rate",
)


def streams_of(path):
    with path.open("rb") as file:
        return mpeg_streams(file, path.stat().st_size)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_frames_are_counted_as_the_encoder_counted_them(tmp_path, rate, channels):
    wave = np.resize(speech(), (rate, channels))
    (stream,) = streams_of(mp3(tmp_path / "a.mp3", wave, rate))
    assert (stream.first.rate, stream.first.channels) == (rate, channels)
    assert stream.frames == stream.promised and stream.samples == rate and stream.whole


@needs_rates
def test_a_file_without_a_frame_count_is_read_to_its_end(tmp_path):
    wave = np.concatenate([0.01 * speech(2), speech(18)])  # quiet first: few bits, a bad guess
    words = {"bitrate_mode": "VARIABLE", "compression_level": 0.2}
    path = without_info(mp3(tmp_path / "a.mp3", wave, **words))
    assert not streams_of(path)[0].tagged
    got = load_audio(path)
    assert abs(len(got) - len(wave)) <= 3 * 1152
    assert likeness(got, wave) > 0.95


@needs_rates
def test_the_length_that_counts_is_that_of_the_frames(tmp_path):
    path = without_info(mp3(tmp_path / "a.mp3", speech(20), bitrate_mode="VARIABLE"))
    assert reason(path, max_seconds=15).startswith("too long: 20.")
    assert len(load_audio(path, max_seconds=21)) > 19.9 * 16_000


def test_joined_files_are_read_to_the_last(tmp_path):
    first, second = speech(2), speech(3, "10a01Wa")
    whole = [mp3(tmp_path / f"{k}.mp3", w).read_bytes() for k, w in enumerate((first, second))]
    (tmp_path / "joined.mp3").write_bytes(b"".join(whole))
    got = load_audio(tmp_path / "joined.mp3")
    assert len(got) == 80_000
    assert likeness(got[:32_000], first) > 0.95 and likeness(got[32_000:], second) > 0.95
    middle = load_audio(tmp_path / "joined.mp3", start=1.0, end=3.0)
    assert np.abs(middle - got[16_000:48_000]).max() < 1e-3


def test_tags_covers_and_what_stands_between_files_change_nothing(tmp_path):
    path = mp3(tmp_path / "a.mp3", speech())
    plain, data = load_audio(path), path.read_bytes()
    ape = b"APETAGEX" + struct.pack("<4I", 2000, 64, 1, 0) + bytes(8 + 64 - 32)
    for before, after in ((COVER, b""), (b"", b"TAG" + bytes(125)), (COVER, ape)):
        path.write_bytes(before + data + after)
        assert np.array_equal(load_audio(path), plain)
    path.write_bytes(COVER + data + b"TAG" + bytes(125) + COVER + data)
    assert len(load_audio(path)) == 2 * len(plain)


def test_a_count_that_is_too_small_is_put_right(tmp_path):
    path = mp3(tmp_path / "a.mp3", speech())
    data = bytearray(path.read_bytes())
    at = data.find(b"Info") if b"Info" in data else data.find(b"Xing")
    data[at + 8 : at + 12] = (20).to_bytes(4, "big")
    path.write_bytes(data)
    assert abs(len(load_audio(path)) - 48_000) <= 3 * 1152


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_file_cut_short_is_refused_and_told_by_the_quick_check(tmp_path, share):
    path = half(mp3(tmp_path / "a.mp3", speech(10)), share)
    told = reason(path)
    assert told.startswith("unreadable: cut short, ") and told.endswith(" of 10.08 s are there")
    (tmp_path / "m.csv").write_text(f"id,audio\nu,{path.name}\n")
    found = check_audio(load_manifest(tmp_path / "m.csv"), DataConfig())
    assert [(q.id, q.reason) for q in found] == [("u", told)]


def test_a_file_without_a_count_that_ends_within_a_frame_is_cut_short(tmp_path):
    path = without_info(mp3(tmp_path / "a.mp3", speech(10)))
    data = path.read_bytes()
    last = streams_of(path)[0].first.length
    path.write_bytes(data[: len(data) - last // 2])
    told = reason(path)
    assert told.startswith("unreadable: cut short, the file ends within an MP3 frame after 9.")


def test_frames_lost_in_the_middle_are_missed(tmp_path):
    path = mp3(tmp_path / "a.mp3", speech(10))
    data = path.read_bytes()
    third = len(data) // 3
    path.write_bytes(data[:third] + bytes(third) + data[2 * third :])
    assert reason(path).startswith("unreadable: cut short, 6.")
    plain = without_info(mp3(tmp_path / "b.mp3", speech(10)))
    data = plain.read_bytes()
    plain.write_bytes(data[:third] + bytes(third) + data[2 * third :])
    assert "bytes between the MP3 frames are no sound" in reason(plain)


def test_joined_files_of_different_rates_are_refused(tmp_path):
    parts = [mp3(tmp_path / f"{r}.mp3", speech(), r).read_bytes() for r in (16_000, 44_100)]
    (tmp_path / "a.mp3").write_bytes(b"".join(parts))
    told = reason(tmp_path / "a.mp3")
    assert "parts of 16000 and 44100 Hz, 1 and 1 channels are joined" in told
    stereo = mp3(tmp_path / "s.mp3", np.stack([speech()] * 2, 1)).read_bytes()
    (tmp_path / "b.mp3").write_bytes(parts[0] + stereo)
    assert "1 and 2 channels are joined" in reason(tmp_path / "b.mp3")


def test_half_of_a_joined_file_is_refused(tmp_path):
    data = mp3(tmp_path / "a.mp3", speech()).read_bytes()
    (tmp_path / "a.mp3").write_bytes(data + data[: len(data) // 2])
    assert reason(tmp_path / "a.mp3").startswith("unreadable: cut short, ")


@pytest.mark.parametrize("head", ["fffb9064", "fff3a0c4", "ffe388c4", "fffd9464", "ffff9464"])
def test_an_info_frame_is_of_the_kind_of_its_stream(head):
    header = frame_header(bytes.fromhex(head))
    assert header is not None
    made = info_frame(bytes.fromhex(head), 1234)
    mine = frame_header(made[:4])
    assert mine is not None and mine.family == header.family and len(made) == mine.length


def test_noise_holds_no_stream_and_hangs_nothing():
    rng = np.random.default_rng(0)
    for data in (b"", b"\xff", b"\xff" * 5000, rng.bytes(200_000), b"ID3" + bytes(7), b"TAG"):
        assert sum(stream.frames for stream in mpeg_streams(io.BytesIO(data), len(data))) < 20


def test_bytes_changed_at_random_lose_no_sound_without_a_word(tmp_path):
    data = mp3(tmp_path / "a.mp3", speech(4)).read_bytes()
    rng = np.random.default_rng(1)
    for _ in range(60):
        broken = bytearray(data)
        for at in rng.integers(0, len(data), 4):
            broken[at] = rng.integers(256)
        (tmp_path / "b.mp3").write_bytes(broken)
        try:
            got = load_audio(tmp_path / "b.mp3")
        except AudioError as error:
            assert str(error)
        else:
            assert abs(len(got) - 64_000) <= 3 * 1152
