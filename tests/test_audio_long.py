"""Hours of sound: blocks give the numbers of the whole, and memory does not hold them all."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from speech_files import save, speech
from tiny_speech import encoder, tiny

from models.encoders.acoustic import AcousticEncoder
from models.encoders.acoustic_frames import Contours, measure
from models.encoders.acoustic_windows import BLOCK_FRAMES, HOP
from semi.data.audio import Span, load_audio, load_sound
from semi.data.audio_mixdown import Mixdown
from semi.data.long_sound import KEPT_SECONDS, LongSound, SampleFile

MINUTES = 11.0  # beyond every limit from which on sound is taken in parts


def on_disk(wave) -> Any:
    file = SampleFile()
    file.append(wave)
    return LongSound(file, 0, len(wave))


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 96_000])
def test_blocks_of_any_size_give_the_samples_of_the_whole(rate):
    stereo = np.stack([np.resize(speech(3), 2 * rate), np.zeros(2 * rate, np.float32)], 1)
    whole = Mixdown(rate)
    whole.add(stereo)
    parts = Mixdown(rate)
    for start in range(0, len(stereo), 997):
        parts.add(stereo[start : start + 997])
    assert np.array_equal(whole.result(), parts.result())


def test_a_sound_of_more_than_five_minutes_stays_on_the_disk(tmp_path):
    wave = speech(KEPT_SECONDS + 20)
    path = save(tmp_path / "a.wav", wave)
    sound = load_sound(path, Span(max_seconds=1e6))
    assert isinstance(sound, LongSound) and len(sound) == len(wave)
    read = soundfile.read(path, dtype="float32")[0]
    assert np.array_equal(np.asarray(sound), read)
    assert np.array_equal(np.asarray(sound[1000:5_000_000][10:20]), read[1010:1020])
    assert np.array_equal(load_audio(path, max_seconds=1e6), read)


def test_a_long_sound_beyond_full_scale_is_scaled_as_a_short_one(tmp_path):
    wave = 3 * speech(KEPT_SECONDS + 20) / np.abs(speech(3)).max()
    path = save(tmp_path / "a.wav", wave, subtype="FLOAT")
    got = load_audio(path, max_seconds=1e6)
    assert np.array_equal(got, (wave / np.abs(wave).max()).astype(np.float32))


def test_hours_of_frames_have_the_contours_and_statistics_of_the_whole():
    wave = speech(60 * MINUTES)
    assert len(wave) > 20 * BLOCK_FRAMES * HOP
    whole, parts = measure(torch.from_numpy(wave)), measure(on_disk(wave))
    for name in Contours.__dataclass_fields__:
        assert torch.equal(getattr(whole, name), getattr(parts, name)), name
    memory, disk = AcousticEncoder().encode([wave]), AcousticEncoder().encode([on_disk(wave)])
    assert torch.equal(memory, disk)


def test_a_seam_of_two_blocks_is_not_heard():
    wave = torch.from_numpy(speech(BLOCK_FRAMES * HOP / 16_000 + 20))
    whole, later = measure(wave), measure(wave[1000 * HOP :])  # the same frames, a seam elsewhere
    count = len(later.active) - 5
    assert len(whole.active) - count < BLOCK_FRAMES  # the seam of `whole` is among them
    for name in ("spectral", "log_mel"):
        left, right = (getattr(c, name)[-count:] for c in (whole, later))
        # the mean power of the two differs a little, and a floor goes with it
        assert (left - right).abs().max() < 0.05 + 0.1 * (name == "log_mel"), name


@pytest.mark.parametrize("normalize", [False, True])
def test_a_network_reads_a_long_sound_piece_by_piece_with_the_same_numbers(normalize):
    model = tiny("hubert-large" if normalize else "hubert-base")
    ours = encoder(model, chunk_seconds=5.0)
    wave = 0.3 * speech(30)
    torch.testing.assert_close(
        ours.encode([on_disk(wave)]), ours.encode([wave]), atol=1e-5, rtol=1e-5
    )


MEASURED = """
import resource, sys, tempfile
from semi.config.schema import load_config
from semi.features.extract import extract_rows, open_encoders
from semi.features.sources import Limits
from semi.features.store import FeatureStore
from semi.runs.utterances import utterances

config = load_config(None, ["data.manifest=m.csv", "encoders.text.model=none"])
encoders = open_encoders(config)
encoders["speech"].encode([])
extract_rows(utterances([sys.argv[1]], None), encoders, FeatureStore(sys.argv[3]), progress=False)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = extract_rows(
    utterances([sys.argv[2]], None), encoders, FeatureStore(sys.argv[3]),
    limits=Limits(0.1, 1e6), progress=False,
)
assert found.done == 1, found
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_does_not_hold_the_sound(tmp_path):
    rate, seconds = 48_000, 900
    short = save(tmp_path / "short.wav", speech(20))
    long = tmp_path / "long.wav"
    minute = np.stack([np.repeat(speech(60), 3)] * 2, 1)
    with soundfile.SoundFile(long, "w", rate, 2) as file:
        for _ in range(seconds // 60):
            file.write(minute)
    whole = seconds * rate * 2 * 4  # bytes of its samples as float32, 346 MB
    words = [sys.executable, "-c", MEASURED, str(short), str(long), str(tmp_path / "store")]
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(words, capture_output=True, text=True, cwd=root, check=True)
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(done.stdout) * unit < 0.5 * whole
