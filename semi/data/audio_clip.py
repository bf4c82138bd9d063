"""A short piece of any sound file, small enough to stand inside a page."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import AudioError
from .audio import load_audio, seconds_or_none
from .audio_decoders import SAMPLE_RATE

if TYPE_CHECKING:
    import numpy as np

CLIP_SECONDS = 8.0


def clip_uri(path: str | Path, *, start: float | None = None, end: float | None = None) -> str:
    """Returns the first CLIP_SECONDS of a file, or of its start..end seconds, as a data: address.

    AudioError where there is nothing to hear.
    """
    first = seconds_or_none(start) or 0.0
    last = first + CLIP_SECONDS
    if (given := seconds_or_none(end)) is not None:
        last = min(last, given)
    wave = load_audio(path, start=first, end=last, min_seconds=0.0)
    return "data:audio/mpeg;base64," + base64.b64encode(mp3_of(wave)).decode("ascii")


def mp3_of(wave: np.ndarray) -> bytes:
    """Returns a mono MP3 of samples (T,) at SAMPLE_RATE, about 6 kB a second.

    Every browser plays it (Ogg Opus is silent on iPhones before iOS 18.4), it is written four times
    faster than Opus, and the same sound gives the same bytes (an Ogg file holds a number drawn at
    random). AudioError where it cannot be written here.
    """
    import soundfile

    if "MP3" not in soundfile.available_formats():
        raise AudioError("unplayable: the installed libsndfile writes no MP3")
    out = io.BytesIO()
    soundfile.write(out, wave, SAMPLE_RATE, format="MP3", subtype="MPEG_LAYER_III")
    return out.getvalue()
