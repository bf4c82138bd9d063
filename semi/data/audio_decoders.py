"""Sound files opened for reading in blocks, with what they promise checked before and after.

A reader gives (frames, channels) float32 at the file's own rate. Where a file delivers less than
its header or its frames promise, that is an error and never a shorter sound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from ..errors import AudioError, how_to_install

if TYPE_CHECKING:
    import numpy as np

SAMPLE_RATE = 16_000  # that every sound is brought to
BLOCK_SAMPLES = 1 << 20  # samples decoded at a time, all channels together
SLACK = {"MPEG": 2 * 1152, "VORBIS": 2048, "OPUS": 2048}  # frames that coders add or trim
READABLE = "wav, flac, mp3, ogg, opus, aiff, au"


class UndecodedError(AudioError):
    """This decoder cannot read the file, or reads less than is there; another one might."""


class SoundReader(Protocol):
    """A sound file that is open."""

    rate: int
    frames: int | None  # promised; None where the file does not say

    def blocks(self, first: int, last: int | None) -> Iterator[np.ndarray]:
        """Yields the frames first ... last - 1 (None: to the end) in blocks (n, channels)."""
        ...

    def close(self) -> None:
        """Closes the file."""
        ...


class SoundFileReader:
    """A file, or the parts of one end to end, decoded by libsndfile."""

    def __init__(self, parts: list[Callable[[], Any]], expected: int | None = None) -> None:
        """Opens all parts; `expected` frames are known to be there where headers cannot be trusted.

        Args:
            parts: each returns what `soundfile.SoundFile` is to be given.
            expected: frames of all parts together; None = what their headers say.
        """
        import soundfile

        self._open = ExitStack()
        self._parts = []
        try:
            for part in parts:
                source = part()
                if hasattr(source, "close"):
                    self._open.callback(source.close)
                self._parts.append(self._open.enter_context(soundfile.SoundFile(source)))
        except (soundfile.LibsndfileError, OSError, TypeError, ValueError) as error:
            self._open.close()
            raise UndecodedError(_cannot_open(error)) from None
        first = self._parts[0]
        self.rate, self.channels, self.format = first.samplerate, first.channels, first.format
        self._frames = sum(part.frames for part in self._parts)
        self.frames: int | None = self._frames
        self._slack = SLACK.get(first.subtype.split("_")[0], 0) * len(parts)
        try:
            self._check(expected)
        except AudioError:
            self._open.close()
            raise

    def _check(self, expected: int | None) -> None:
        for part in self._parts:
            if (part.samplerate, part.channels) != (self.rate, self.channels):
                raise AudioError(
                    f"unreadable: parts of {self.rate} and {part.samplerate} Hz, {self.channels} "
                    f"and {part.channels} channels are joined in the file; convert it to wav"
                )
        if self.format == "RAW":
            raise AudioError(HEADERLESS)
        if self.format == "VOC" and "truncated" in self._parts[0].extra_info:
            raise AudioError("unreadable: cut short, the header promises more than there is")
        if expected is not None and abs(self._frames - expected) > self._slack:
            raise UndecodedError(_less(self._frames, expected, self.rate))

    def blocks(self, first: int, last: int | None) -> Iterator[np.ndarray]:
        """Yields the frames first ... last - 1 in blocks; AudioError where some are missing."""
        begin = got = 0
        end = self._frames if last is None else last
        for part in self._parts:
            stop = begin + part.frames
            if begin < end and first < stop:
                for block in self._of(part, max(first - begin, 0), min(end - begin, part.frames)):
                    got += len(block)
                    yield block
            begin = stop
        if got < end - first - self._slack:
            raise UndecodedError(_less(got, end - first, self.rate))

    def _of(self, part: Any, first: int, last: int) -> Iterator[np.ndarray]:
        import soundfile

        try:
            if part.seekable() and part.tell() != first:
                part.seek(first)
            elif not part.seekable() and first:  # GSM, G.721 and the like: from the beginning only
                part.read(first, dtype="float32")
            left = last - first
            while left > 0:
                count = min(left, max(1, BLOCK_SAMPLES // self.channels))
                block = part.read(count, dtype="float32", always_2d=True)
                if len(block):
                    yield block
                left -= len(block)
                if len(block) < count:
                    return
        except (soundfile.LibsndfileError, RuntimeError) as error:
            detail = str(error).rstrip(".")
            raise AudioError(
                f"unreadable: damaged or cut short, decoding failed ({detail})"
            ) from None

    def close(self) -> None:
        """Closes the file."""
        self._open.close()


HEADERLESS = (
    "unreadable: samples without a header, so rate, width and channels are unknown; convert the "
    "file, for example with ffmpeg -f s16le -ar 16000 -ac 1 -i IN OUT.wav"
)


def _cannot_open(error: Exception) -> str:
    detail = str(error).rsplit(": ", 1)[-1].strip().rstrip(".")
    return f"unreadable: {detail} (readable are {READABLE})"


def _less(got: int, promised: int, rate: int) -> str:
    return f"unreadable: {got / rate:.2f} s decoded of the {promised / rate:.2f} s promised"


def _of_ffmpeg(error: Exception) -> str:
    detail = getattr(error, "strerror", None) or str(error)
    return f"unreadable: damaged or cut short, FFmpeg says: {str(detail)[:150]}"


class AvReader:
    """A file decoded by PyAV, an optional library: m4a, aac, webm, and what libsndfile refuses."""

    def __init__(self, source: str | Path | BinaryIO, expected_seconds: float | None = None):
        """Opens the file and decodes the first frame, which knows the rate (a header may not)."""
        try:
            import av  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise UndecodedError(
                "unreadable: m4a, mp4, aac, avi, webm and wma need PyAV; "
                f"{how_to_install('m4a')}, or convert the file to wav or flac"
            ) from None
        self.frames: int | None = None
        try:
            self._container = av.open(source if hasattr(source, "read") else str(source), "r")
            if not self._container.streams.audio:
                raise AudioError("unreadable: the file holds no audio stream")
            self._stream = self._container.streams.audio[0]
            self._decoded = self._container.decode(self._stream)
            self._to_float = av.AudioResampler(format="fltp")  # keeps rate and channels
            self._first = next(self._decoded, None)
        except AudioError:
            raise
        except Exception as error:  # PyAV raises one class for each error code of FFmpeg
            raise UndecodedError(_of_ffmpeg(error)) from None
        if self._first is None:
            raise AudioError("empty: the file holds no samples")
        self.rate = int(self._first.sample_rate)
        self.seconds = expected_seconds or self._seconds()

    def _seconds(self) -> float | None:
        """Returns what the header promises; None where it only guesses, or does not know."""
        guessed = {"aac", "mp3", "amr", "mpegts", "mpeg", "ac3", "dts"}
        if guessed & set(self._container.format.name.split(",")):
            return None
        if self._stream.duration and self._stream.time_base:
            return float(self._stream.duration * self._stream.time_base)
        return self._container.duration / 1e6 if self._container.duration else None

    def blocks(self, first: int, last: int | None) -> Iterator[np.ndarray]:
        """Yields the frames first ... last - 1 in blocks; AudioError where the end is missing."""
        at = 0
        try:
            for block in self._all():
                here = block[max(0, first - at) : None if last is None else max(0, last - at)]
                at += len(block)
                if len(here):
                    yield here
                if last is not None and at >= last:
                    return
        except AudioError:
            raise
        except Exception as error:
            raise AudioError(_of_ffmpeg(error)) from None
        if self.seconds is not None and at / self.rate < self.seconds - max(0.2, 4096 / self.rate):
            raise AudioError(
                f"unreadable: cut short, {at / self.rate:.2f} of {self.seconds:.2f} s are there"
            )

    def _all(self) -> Iterator[np.ndarray]:
        frame = self._first
        while frame is not None:
            if frame.sample_rate != self.rate:
                raise AudioError(
                    f"unreadable: the rate changes from {self.rate} to {frame.sample_rate} Hz in "
                    "the file; convert it to wav"
                )
            for part in self._to_float.resample(frame):
                yield part.to_ndarray().T.astype("float32", copy=False)
            frame = next(self._decoded, None)

    def close(self) -> None:
        """Closes the file."""
        self._container.close()
