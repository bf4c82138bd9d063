"""Sounds of known length, damaged: what is delivered is never shorter than what was recorded."""

from __future__ import annotations

import io
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from semi.data.audio import load_audio
from semi.data.audio_decoders import SAMPLE_RATE
from semi.errors import AudioError

KINDS = [
    ("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("FLAC", "PCM_16"), ("FLAC", "PCM_24"),
    ("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("AIFF", "PCM_16"),
    ("AU", "PCM_16"),
]  # fmt: skip
HEADER = 100  # bytes: a sampling rate or a number of channels that is changed shows nowhere
JUNK = [b"\x00" * 64, b"TAG" + b" " * 125, b"LIST\x04\x00\x00\x00abcd", b"\xff" * 7, b"hello\n"]


@dataclass
class Sound:
    """An encoded sound and how long it is."""

    kind: str
    rate: int
    frames: int
    data: bytes


def sound(chance: random.Random, like: Sound | None = None) -> Sound:
    """Returns a sound of 0.4 to 3 seconds, in the format and at the rate of another if given."""
    import soundfile

    name, subtype = chance.choice(KINDS) if like is None else like.kind.split()
    rate = like.rate if like else chance.choice([8000, 16000, 22050, 44100, 48000])
    if subtype == "OPUS":
        rate = 16000 if like is None else like.rate
    frames = chance.randint(int(0.4 * rate), 3 * rate)
    rng = np.random.default_rng(chance.randrange(2**32))
    wave = 0.2 * np.sin(np.arange(frames) / 9) + 0.1 * rng.normal(size=frames)
    out = io.BytesIO()
    soundfile.write(out, wave.clip(-1, 1), rate, format=name, subtype=subtype)
    return Sound(f"{name} {subtype}", rate, frames, out.getvalue())


def tolerance(given: Sound, how: str) -> float:
    """Returns how many seconds may be lacking: a lossy frame or two; 1 % of a header's promise."""
    if given.kind.split()[0] in ("WAV", "AIFF", "AU") and how in ("cut", "hole"):
        return 0.001 + 0.0102 * given.frames / given.rate
    return 0.15 if "MP3" in given.kind else 0.05 if "OGG" in given.kind else 0.001


def damaged(given: Sound, chance: random.Random) -> tuple[bytes, int, str]:
    """Returns the bytes, how many frames they hold by right, and what was done."""
    data = bytearray(given.data)
    how = chance.choice(["cut", "flip", "junk", "twice", "hole", "doubled", "none"])
    at = chance.randrange(min(HEADER, len(data) // 2), len(data))
    if how == "cut":
        del data[at:]
    elif how == "flip":
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(HEADER, len(data))] ^= 1 << chance.randrange(8)
    elif how == "junk":
        data += chance.choice(JUNK)
    elif how == "twice":
        other = sound(chance, given)
        return bytes(data) + other.data, given.frames + other.frames, how
    elif how == "hole":
        del data[at : at + chance.choice([1, 50, 500, 5000])]
    elif how == "doubled":
        size = chance.choice([1, 50, 500])
        data[at:at] = data[at : at + size]
    return bytes(data), given.frames, how


def sound_case(path: Path, chance: random.Random) -> str:
    """Writes one case at `path`, reads it, and returns what is wrong with its length."""
    given = sound(chance)
    data, frames, how = damaged(given, chance)
    path.write_bytes(data)
    case = f"{given.kind} {given.rate} Hz, {how}"
    try:
        heard = load_audio(path)
    except AudioError as error:
        return f"{case}: refused: {error}" if how == "none" else ""
    seconds, held = frames / given.rate, len(heard) / SAMPLE_RATE
    if held < seconds - tolerance(given, how) or not np.isfinite(heard).all():
        return f"{case}: {held:.3f} s of {seconds:.3f} s"
    return ""
