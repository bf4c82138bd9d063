"""Wave, AIFF, AU, FLAC and Ogg files: what the header promises is what is used, or a reason."""

import numpy as np
import pytest
import soundfile
from speech_files import half, likeness, reason, save, speech

from models.encoders import Encoder
from models.encoders.acoustic import AcousticEncoder
from semi.data.audio import check_audio, load_audio
from semi.data.config import DataConfig
from semi.data.manifest import load_manifest
from semi.features.extract import extract_rows
from semi.features.store import FeatureStore
from semi.runs.utterances import utterances

KINDS = {
    "a.wav": {},
    "float.wav": {"subtype": "FLOAT"},
    "adpcm.wav": {"subtype": "IMA_ADPCM"},
    "gsm.wav": {"subtype": "GSM610"},
    "g721.au": {"subtype": "G721_32"},
    "big.wav": {"endian": "BIG"},
    "a.rf64": {"format": "RF64"},
    "a.w64": {},
    "a.aiff": {},
    "little.aiff": {"endian": "LITTLE"},
    "a.au": {},
    "a.flac": {},
    "a.sph": {"format": "NIST"},
    "a.caf": {},
    "a.voc": {},
    "a.ogg": {},
    "opus.ogg": {"subtype": "OPUS"},
    "a.mp3": {},
}


@pytest.mark.parametrize("name", KINDS)
def test_a_whole_file_is_read_and_half_of_it_is_refused(tmp_path, name):
    path = save(tmp_path / name, speech(4), **KINDS[name])
    assert abs(len(load_audio(path)) - 64_000) <= 1500
    told = reason(half(path))
    assert told.startswith("unreadable: ")
    if name != "a.caf":  # which libsndfile calls malformed
        assert "cut short" in told


def test_the_quick_check_names_what_was_cut(tmp_path):
    names = [name for name in KINDS if name not in ("a.flac", "a.caf")]
    for name in names:
        half(save(tmp_path / name, speech(4), **KINDS[name]))
    rows = "".join(f"{name},cut_{name}\n" for name in names)
    (tmp_path / "m.csv").write_text("id,audio\n" + rows)
    found = check_audio(load_manifest(tmp_path / "m.csv"), DataConfig())
    assert {q.id for q in found if "cut short" in q.reason} == set(names)


UNKNOWN = [0, 0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFFF, 0x80000000]


@pytest.mark.parametrize("length", UNKNOWN)
@pytest.mark.parametrize("name", ["a.wav", "big.wav", "a.au", "a.aiff"])
def test_a_length_that_the_writer_could_not_know_means_to_the_end(tmp_path, name, length):
    path = save(tmp_path / name, speech(2), **KINDS[name])
    whole, data = load_audio(path), bytearray(path.read_bytes())
    order = "little" if name == "a.wav" else "big"
    at = 8 if name == "a.au" else data.find(b"SSND" if name == "a.aiff" else b"data") + 4
    data[at : at + 4] = length.to_bytes(4, order)
    if name == "a.aiff":
        frames = data.find(b"COMM") + 10
        data[frames : frames + 4] = bytes(4)
    path.write_bytes(data)
    assert np.array_equal(load_audio(path), whole)


@pytest.mark.parametrize("name", ["a.rf64", "a.w64"])
def test_long_lengths_that_are_unknown_mean_to_the_end(tmp_path, name):
    path = save(tmp_path / name, speech(2), **KINDS[name])
    whole, data = load_audio(path), bytearray(path.read_bytes())
    at = data.find(b"ds64") + 16 if name == "a.rf64" else data.find(b"data") + 16
    data[at : at + 8] = bytes(8)
    path.write_bytes(data)
    assert np.array_equal(load_audio(path), whole)


def test_an_empty_wave_file_with_a_chunk_behind_it_is_empty(tmp_path):
    path = save(tmp_path / "a.wav", speech(1)[:0])
    path.write_bytes(path.read_bytes() + b"LIST" + (5000).to_bytes(4, "little") + bytes(5000))
    assert reason(path) == "empty: the file holds no samples"


def test_sound_behind_what_the_header_promises_is_not_dropped_in_silence(tmp_path):
    path = save(tmp_path / "a.wav", speech(4))
    data = bytearray(path.read_bytes())
    data[40:44] = (32_000).to_bytes(4, "little")  # one second, as a recorder that crashed left it
    path.write_bytes(data)
    told = reason(path)
    assert told.startswith(
        "unreadable: the header promises 32000 bytes of sound, and another 96000 "
    )


def test_chunks_and_a_few_bytes_behind_the_sound_are_no_sound(tmp_path):
    path = save(tmp_path / "a.wav", speech(1))
    whole, data = load_audio(path), path.read_bytes()
    chunk = b"LIST" + (9000).to_bytes(4, "little") + b"\xff" * 9000
    for behind in (chunk, b"id3 " + (10).to_bytes(4, "little") + bytes(10), bytes(200)):
        path.write_bytes(data + behind)
        assert np.array_equal(load_audio(path), whole)


def test_a_chained_ogg_file_is_read_to_its_last_link(tmp_path):
    parts, waves = [], [speech(2), speech(3, "10a01Wa")]
    for subtype in ("VORBIS", "OPUS"):
        parts = [
            save(tmp_path / f"{k}.ogg", wave, format="OGG", subtype=subtype).read_bytes()
            for k, wave in enumerate(waves)
        ]
        (tmp_path / "chain.ogg").write_bytes(b"".join(parts))
        got = load_audio(tmp_path / "chain.ogg")
        assert abs(len(got) - 80_000) < 100
        assert likeness(got[:32_000], waves[0]) > 0.9 and likeness(got[32_000:], waves[1]) > 0.9
    (tmp_path / "chain.ogg").write_bytes(parts[0] + parts[1][: len(parts[1]) // 2])
    assert reason(tmp_path / "chain.ogg").startswith("unreadable: cut short")


def test_an_ogg_page_that_is_missing_is_missed(tmp_path):
    path = save(tmp_path / "a.ogg", speech(20), format="OGG", subtype="VORBIS")
    data = path.read_bytes()
    pages = [k for k in range(len(data)) if data[k : k + 4] == b"OggS"]
    path.write_bytes(data[: pages[4]] + data[pages[5] :])
    assert reason(path) == "unreadable: damaged, 1 Ogg page is missing"


def test_a_flac_file_of_unknown_length_and_one_with_a_flipped_byte(tmp_path):
    path = save(tmp_path / "a.flac", speech(4))
    whole, data = load_audio(path), bytearray(path.read_bytes())
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 0x10
    path.write_bytes(flipped)
    assert reason(path).startswith("unreadable: ")
    data[21] &= 0xF0  # 36 bits of STREAMINFO: samples in all, 0 = unknown
    data[22:26] = bytes(4)
    path.write_bytes(data)
    assert np.array_equal(load_audio(path), whole)
    assert "does not end with a whole FLAC frame" in reason(half(path))


@pytest.mark.parametrize("name", ["a.raw", "b.pcm", "c.dat", "d.RAW", "e.au", "f.vox"])
def test_samples_without_a_header_are_refused_with_the_remedy(tmp_path, name):
    (speech(1) * 32767).astype("<i2").tofile(tmp_path / name)
    told = reason(tmp_path / name)
    assert told.startswith("unreadable: ")
    if name not in ("e.au",):
        assert "without a header" in told and "ffmpeg -f s16le" in told


def test_a_wave_file_that_is_called_raw_is_read_by_its_header(tmp_path):
    whole = load_audio(save(tmp_path / "a.wav", speech(1)))
    for name in ("a.raw", "a.dat", "a.mp3", "a.txt"):
        (tmp_path / name).write_bytes((tmp_path / "a.wav").read_bytes())
        assert np.array_equal(load_audio(tmp_path / name), whole)


def test_a_pointer_of_git_lfs_is_named(tmp_path):
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1234\n"
    (tmp_path / "a.wav").write_text(text)
    told = "unreadable: a Git LFS pointer in place of the sound; run git lfs pull"
    assert reason(tmp_path / "a.wav") == told


def test_what_is_not_delivered_is_missed_whatever_the_library_says(tmp_path, monkeypatch):
    path = save(tmp_path / "a.flac", speech(2))
    real = soundfile.SoundFile.read
    monkeypatch.setattr(
        soundfile.SoundFile, "read", lambda self, n, **words: real(self, n, **words)[: n // 2]
    )
    assert reason(path) == "unreadable: 1.00 s decoded of the 2.00 s promised"


def test_one_file_without_a_header_stops_no_other_row(tmp_path):
    save(tmp_path / "good.wav", speech(1))
    for name in ("a.raw", "b.pcm"):
        (speech(1) * 32767).astype("<i2").tofile(tmp_path / name)
    table = utterances([tmp_path / "a.raw", tmp_path / "good.wav", tmp_path / "b.pcm"], None)
    encoders: dict[str, Encoder] = {"speech": AcousticEncoder()}
    found = extract_rows(table, encoders, FeatureStore(tmp_path / "store"), progress=False)
    assert found.done == 1 and len(found.quarantine) == 2
    assert all("without a header" in q.reason for q in found.quarantine)


@pytest.mark.extras("av")
@pytest.mark.parametrize(("name", "codec"), [("a.m4a", "aac"), ("a.webm", "libopus")])
def test_half_of_what_only_pyav_reads_is_refused(tmp_path, name, codec):
    from test_audio import encoded

    path = encoded(tmp_path / name, codec, np.repeat(speech(8), 3))
    assert abs(len(load_audio(path)) - 128_000) < 2000
    assert "cut short" in reason(half(path))


@pytest.mark.parametrize("name", ["a.wav/GSM610", "a.wav/G721_32", "a.au/G721_32"])
def test_telephone_sound_that_no_library_can_seek_in_is_read_from_its_beginning(tmp_path, name):
    file, subtype = name.split("/")
    rate = 8000
    sound = speech()[::2]  # 16 kHz -> 8 kHz, well enough for a telephone
    soundfile.write(tmp_path / file, sound, rate, subtype=subtype)
    whole = load_audio(tmp_path / file)
    assert abs(len(whole) / 16_000 - len(sound) / rate) < 0.05
    part = load_audio(tmp_path / file, start=0.5, end=1.0)
    assert len(part) == 8000 and np.abs(part[100:-100] - whole[8100:15900]).max() < 0.02
