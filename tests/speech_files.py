"""Real speech from the bundled recordings, and files made of it that are broken in a known way."""

from pathlib import Path

import numpy as np
import soundfile

from semi.data.audio import load_audio
from semi.data.corpora import bundled_emodb
from semi.data.mpeg_frames import mpeg_streams
from semi.errors import AudioError


def speech(seconds=3.0, take="03a01Fa"):
    """Returns real speech (samples,) float32 at 16 kHz, repeated to the length asked for."""
    wave = load_audio(bundled_emodb().parent / "audio" / f"{take}.opus")
    return np.resize(wave, round(16_000 * seconds)).astype(np.float32)


def save(path, samples, rate=16_000, **words):
    """Writes samples and returns the path."""
    soundfile.write(path, samples, rate, **words)
    return Path(path)


def half(path, share=0.5):
    """Returns a copy of a file that ends in the middle."""
    cut = path.with_name("cut_" + path.name)
    data = path.read_bytes()
    cut.write_bytes(data[: int(len(data) * share)])
    return cut


def without_info(path):
    """Returns a copy of an MP3 file without its Info frame, as some encoders write it."""
    data = path.read_bytes()
    with path.open("rb") as file:
        (stream,) = mpeg_streams(file, len(data))
    start, stop = stream.ranges[0]
    plain = path.with_name("plain_" + path.name)
    plain.write_bytes(data[start + stream.first.length : stop])
    return plain


def reason(path, **words):
    """Returns why a file is refused; AssertionError where it is not."""
    try:
        got = load_audio(path, **words)
    except AudioError as error:
        return str(error)
    raise AssertionError(f"{path} was read as {len(got) / 16_000:.2f} s")


def likeness(got, wave, slack=4000):
    """Returns the greatest correlation of `wave` with `got`, shifted by up to `slack` samples."""
    size = 1 << int(np.ceil(np.log2(len(got) + len(wave))))
    shared = np.fft.irfft(np.fft.rfft(got, size) * np.conj(np.fft.rfft(wave, size)), size)
    best = max(shared[:slack].max(), shared[-slack:].max())
    return float(best / np.linalg.norm(got) / np.linalg.norm(wave))
