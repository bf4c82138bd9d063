"""The sound of an utterance as browsers play it, and the part of it that a request asks for."""

from __future__ import annotations

import io
import re
from functools import lru_cache

from ..data.audio import load_audio, seconds_or_none
from ..data.audio_clip import mp3_of
from ..data.audio_decoders import SAMPLE_RATE
from ..errors import AudioError
from .rows import ReviewTable

KEPT = 16  # clips decoded last that stay in memory
ONE_RANGE = re.compile(r"bytes=(\d*)-(\d*)", flags=re.ASCII)


class Sounds:
    """The sounds of a run's own utterances, by their numbers: nobody names a path."""

    def __init__(self, table: ReviewTable) -> None:
        """Takes the places of the sounds from the table."""
        columns = table.columns
        self._spans = list(zip(columns["audio"], columns["start"], columns["end"], strict=True))
        self._longest = table.max_seconds
        self.wav = lru_cache(maxsize=KEPT)(self._wav)

    def _wav(self, number: int) -> bytes:
        """Returns a row's sound as the models hear it: a mono WAV of 16 kHz and 16 bits.

        Whatever the file is, and where the row is a part of it, browsers play this. AudioError
        where there is none.
        """
        import soundfile

        out = io.BytesIO()
        soundfile.write(out, self._samples(number), SAMPLE_RATE, format="WAV", subtype="PCM_16")
        return out.getvalue()

    def mp3(self, number: int) -> bytes:
        """Returns a row's sound as a small MP3, which phones play, too; AudioError without one."""
        return mp3_of(self._samples(number))

    def _samples(self, number: int):
        path, start, end = self._spans[number]
        if not isinstance(path, str):
            raise AudioError("this row has no sound")
        return load_audio(
            path,
            start=seconds_or_none(start),
            end=seconds_or_none(end),
            min_seconds=0.0,
            max_seconds=self._longest,
        )


def asked_part(header: str, size: int) -> tuple[int, int] | None:
    """Returns the first byte of a range and the one after its last; None = all of it.

    A header that is no single range of bytes is passed over, as RFC 9110 lets a server do.
    ValueError where nothing of what is asked for is there (status 416).
    """
    match = ONE_RANGE.fullmatch(header.strip())
    if match is None or match.group(1) == match.group(2) == "":
        return None
    if max(map(len, match.groups())) > 18:
        raise ValueError("beyond the end of the file")
    if match.group(1) == "":  # the last so many bytes
        first, last = max(0, size - int(match.group(2))), size
    else:
        first, last = int(match.group(1)), size
        if match.group(2):
            if int(match.group(2)) < first:
                return None
            last = min(size, int(match.group(2)) + 1)
    if first >= last:
        raise ValueError("beyond the end of the file")
    return first, last
