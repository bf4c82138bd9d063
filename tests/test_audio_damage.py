"""Damaged and joined sounds of known length: all of it is heard, or the file is refused."""

import io

import numpy as np
import pytest
import soundfile

from semi.data.audio import load_audio
from semi.data.audio_decoders import SAMPLE_RATE
from semi.data.ogg_pages import ogg_links
from semi.errors import AudioError


def encoded(kind, subtype, seconds=2.0, rate=16000):
    """Returns the bytes of a noisy tone."""
    noise = np.random.default_rng(0).normal(size=int(seconds * rate))
    out = io.BytesIO()
    wave = 0.2 * np.sin(np.arange(len(noise)) / 9) + 0.1 * noise
    soundfile.write(out, wave, rate, format=kind, subtype=subtype)
    return bytearray(out.getvalue())


def test_flac_files_joined_end_to_end_are_heard_as_one():
    joined = encoded("FLAC", "PCM_16", 1.5) + encoded("FLAC", "PCM_16", 0.5)
    assert len(load_audio(bytes(joined))) == 2 * SAMPLE_RATE


def test_flac_whose_header_promises_less_than_its_frames_hold_is_refused():
    data = encoded("FLAC", "PCM_16")
    data[23:26] = (10_000).to_bytes(3, "big")  # of 32000 samples
    with pytest.raises(AudioError, match="promises 10000 samples, and the frames go on to 32000"):
        load_audio(bytes(data))


@pytest.mark.parametrize("junk", [b"\xff\xf8\x0a\x00\x00" + b"\x00" * 60, b"TAG" + b" " * 125])
def test_junk_after_flac_costs_nothing(junk):
    assert len(load_audio(bytes(encoded("FLAC", "PCM_16") + junk))) == 2 * SAMPLE_RATE


def test_an_au_file_with_another_one_behind_it_is_refused():
    data = encoded("AU", "PCM_16")
    with pytest.raises(AudioError, match="another 32024 follow"):
        load_audio(bytes(data + encoded("AU", "PCM_16", 1.0)))


def pages(data):
    """Returns where the pages of an Ogg file begin."""
    starts = [k for k in range(len(data)) if data[k : k + 5] == b"OggS\0"]
    assert len(starts) > 5
    return starts


@pytest.mark.parametrize("kind", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("which", [2, 3, -1])
def test_ogg_of_which_a_page_is_damaged_is_never_a_shorter_sound(kind, which):
    data = encoded("OGG", kind, 6.0)
    data[pages(data)[which] + 60] ^= 1
    try:
        heard = len(load_audio(bytes(data)))
    except AudioError as error:
        assert str(error).startswith("unreadable: ")
    else:
        assert heard == pytest.approx(6 * SAMPLE_RATE, abs=800)


@pytest.mark.parametrize("kind", ["VORBIS", "OPUS"])
def test_ogg_with_bytes_put_in_between_its_pages_is_refused(kind):
    data = encoded("OGG", kind, 6.0)
    at = pages(data)[4]
    data[at:at] = b"1234"
    with pytest.raises(AudioError, match="damaged, bytes between or of its Ogg pages are wrong"):
        load_audio(bytes(data))


@pytest.mark.parametrize("kind", ["VORBIS", "OPUS"])
def test_whole_ogg_with_a_tag_behind_it_is_heard(kind):
    data = encoded("OGG", kind) + b"TAG" + b" " * 125
    assert not any(link.damaged for link in ogg_links(io.BytesIO(data), len(data)))
    assert len(load_audio(bytes(data))) == pytest.approx(2 * SAMPLE_RATE, abs=800)
