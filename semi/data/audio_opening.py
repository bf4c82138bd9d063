"""Which decoder reads a sound file, by its first bytes, header and number of frames."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

from ..errors import AudioError
from .audio_containers import LEAST, SoundBytes, sound_bytes
from .audio_decoders import HEADERLESS, AvReader, SoundFileReader, SoundReader, UndecodedError
from .flac_length import (
    SAMPLES_AT,
    counted_length,
    flac_streams,
    mended_header,
    told_length,
)
from .mpeg_frames import MpegStream, after_tags, frame_header, info_frame, mpeg_streams
from .ogg_pages import ogg_links
from .spliced_file import Piece, SplicedFile
from .waveforms import ArrayReader, Waveform
from .wording import counted

File = str | Path | bytes  # a file, or what a file holds
SoundSource = File | Waveform
Decoder = Callable[[], SoundReader]
T = TypeVar("T")

RAW = (".raw", ".pcm", ".dat", ".bin", ".s16", ".s16le", ".f32", ".sw", ".sln")
MPEG = (".mp3", ".mp2", ".mpga")
ONLY_AV = {  # first bytes of what libsndfile does not know, by where they stand
    (4, b"ftyp"): "mp4",
    (0, b"\x1a\x45\xdf\xa3"): "webm",
    (0, b"\x30\x26\xb2\x75"): "wma",
    (0, b"#!AMR"): "amr",
    (0, b"wvpk"): "wavpack",
    (0, b"MAC "): "ape",
    (0, b"FLV\x01"): "flv",
    (8, b"AVI "): "avi",
    (0, b"TTA1"): "tta",
    (0, b"\x0b\x77"): "ac3",
    (0, b"\x00\x00\x01\xba"): "mpeg",
}


def read_with(source: SoundSource, use: Callable[[SoundReader], T]) -> T:
    """Returns `use(reader)` of the first decoder that delivers all that the file promises.

    Raises AudioError: missing, empty, unreadable, cut short; or what `use` raises.
    """
    first_error: AudioError | None = None
    for decoder in decoders(source):
        try:
            reader = decoder()
            try:
                return use(reader)
            finally:
                reader.close()
        except UndecodedError as error:
            first_error = first_error or error
    raise AudioError(str(first_error))


def open_audio(source: SoundSource) -> SoundReader:
    """Returns a reader of the first decoder that opens the file; close it. AudioError otherwise."""
    first_error: AudioError | None = None
    for decoder in decoders(source):
        try:
            return decoder()
        except UndecodedError as error:
            first_error = first_error or error
    raise AudioError(str(first_error))


def decoders(source: SoundSource) -> list[Decoder]:
    """Returns the decoders to be tried in turn; AudioError where the file itself is not whole."""
    if isinstance(source, Waveform):
        if isinstance(source.content, bytes):
            return decoders(source.content)
        samples, rate = source.content, source.rate
        return [lambda: ArrayReader(samples, rate)]
    with opened(source) as file:
        head = file.read(64)
        if not head:
            raise AudioError("empty: the file has 0 bytes")
        size = len(source) if isinstance(source, bytes) else os.fstat(file.fileno()).st_size
        if head[:4] == b"fLaC":
            return _flac(source, file, size)
        if head[:4] == b"OggS":
            return _ogg(source, file, size)
        if head.startswith(b"version https://git-lfs"):
            raise AudioError(
                "unreadable: a Git LFS pointer in place of the sound; run git lfs pull"
            )
        if any(head[at:].startswith(mark) for at, mark in ONLY_AV):
            return [lambda: AvReader(_named(source))]
        first = head
        if head[:3] == b"ID3":
            file.seek(after_tags(file, 0))
            first = file.read(4)
        if first[0:1] == b"\xff" and len(first) > 1 and first[1] & 0xF6 == 0xF0:  # ADTS
            return [lambda: AvReader(_named(source))]
        if frame_header(first[:4]):
            return _mpeg(source, file, size)
        found = sound_bytes(file, size)
        if found is not None:
            return _container(source, found)
        if _suffix(source) in MPEG:  # the first frame may stand behind something else
            return _mpeg(source, file, size)
    return [lambda: _plain(source)]


@contextmanager
def opened(source: File) -> Iterator[BinaryIO]:
    """Opens a file, or bytes as one; AudioError where that fails."""
    try:
        with _binary(source) as file:
            yield file
    except OSError as error:
        raise AudioError(os_reason(error)) from None


def os_reason(error: OSError) -> str:
    """Returns why a file cannot be opened or read."""
    if isinstance(error, FileNotFoundError):
        return "missing: no such file"
    return f"unreadable: {error.strerror or error}"


def _binary(source: File) -> BinaryIO:
    return io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb")


def _named(source: File):
    """Returns what libsndfile opens fastest: the path itself, or the bytes as a file."""
    return io.BytesIO(source) if isinstance(source, bytes) else os.fspath(source)


def _spliced(source: File, pieces: list[Piece]) -> Callable[[], SplicedFile]:
    return lambda: SplicedFile(_binary(source), pieces)


def _suffix(source: File) -> str:
    return "" if isinstance(source, bytes) else Path(source).suffix.lower()


def _plain(source: File) -> SoundReader:
    """Opens a file that libsndfile recognises by itself."""
    if _suffix(source) != ".raw":
        try:
            return SoundFileReader([lambda: _named(source)])
        except UndecodedError:
            if _suffix(source) not in RAW:
                raise
    raise AudioError(HEADERLESS)


def _flac(source: File, file: BinaryIO, size: int) -> list[Decoder]:
    """Reads FLAC by its header, or where that does not know the length, by its frames."""
    streams = flac_streams(file, size)
    file.seek(0)
    head = file.read(64)
    if len(streams) > 1:  # joined end to end
        parts: list[Callable] = [_spliced(source, [stream]) for stream in streams]
        return [lambda: SoundFileReader(parts)]
    samples, declared = counted_length(file, head, size), told_length(head)
    if declared and (samples or 0) > declared:
        raise AudioError(
            f"unreadable: the header promises {declared} samples, and the frames go on to "
            f"{samples}; write the file anew"
        )
    if declared:
        return [lambda: _plain(source)]
    if samples is None:
        raise AudioError("unreadable: cut short, the file does not end with a whole FLAC frame")
    right, after = mended_header(head, samples), SAMPLES_AT + 5
    part = _spliced(source, [(0, SAMPLES_AT), right, (after, size)])
    return [lambda: SoundFileReader([part])]


def _container(source: File, found: SoundBytes) -> list[Decoder]:
    if found.cut_short:
        raise AudioError(
            f"unreadable: cut short, {found.there} of {found.promised} bytes are there"
        )
    if found.unexplained > max(LEAST, (found.promised or 0) // 100):
        raise AudioError(
            f"unreadable: the header promises {found.promised} bytes of sound, and another "
            f"{found.unexplained} follow that it does not explain; write the file anew"
        )
    pieces: list[Piece] = []
    at = 0
    for place, right in found.mended:
        pieces += [(at, place), right]
        at = place + len(right)
    pieces.append((at, found.at + found.there))
    named = found.mended or _suffix(source) in RAW  # by such a name the library goes astray
    part = _spliced(source, pieces) if named else lambda: _named(source)
    return [lambda: SoundFileReader([part]), lambda: AvReader(_named(source))]


def _ogg(source: File, file: BinaryIO, size: int) -> list[Decoder]:
    links = ogg_links(file, size)
    if any(link.cut for link in links):
        raise AudioError("unreadable: cut short, the file ends within an Ogg page")
    missing = sum(link.missing for link in links)
    if missing:
        raise AudioError(
            f"unreadable: damaged, {counted(missing, 'Ogg page', 'is', 'are')} missing"
        )
    if any(link.damaged for link in links):
        raise AudioError("unreadable: damaged, bytes between or of its Ogg pages are wrong")
    parts: list[Callable] = [lambda: _named(source)]
    if len(links) > 1:
        parts = [_spliced(source, [(link.start, link.stop)]) for link in links]
    return [lambda: SoundFileReader(parts), lambda: AvReader(_named(source))]


def _mpeg(source: File, file: BinaryIO, size: int) -> list[Decoder]:
    streams = mpeg_streams(file, size)
    if not streams:
        return [lambda: _plain(source)]
    for stream in streams:
        _check_stream(stream)
    only = streams[0]
    parts: list[Callable] = [_spliced(source, _clean(stream)) for stream in streams]
    if len(streams) == 1 and only.whole and len(only.ranges) == 1:
        parts = [lambda: _named(source)]
    expected = sum(stream.samples for stream in streams)
    seconds = sum(stream.samples / stream.first.rate for stream in streams)
    return [
        lambda: SoundFileReader(parts, expected),
        lambda: AvReader(_named(source), expected_seconds=seconds),
    ]


def _check_stream(stream: MpegStream) -> None:
    """Raises AudioError for frames that are fewer than promised, or that end in the middle."""
    about = stream.first
    there = stream.frames * about.samples / about.rate
    if stream.promised is not None:
        promised = stream.promised * about.samples / about.rate
        if stream.frames < stream.promised and not stream.whole:
            raise AudioError(f"unreadable: cut short, {there:.2f} of {promised:.2f} s are there")
        return
    if stream.cut:
        raise AudioError(
            f"unreadable: cut short, the file ends within an MP3 frame after {there:.2f} s"
        )
    length = sum(stop - start for start, stop in stream.ranges)
    if stream.foreign > max(LEAST, length // 100):
        raise AudioError(
            f"unreadable: damaged, {counted(stream.foreign, 'byte')} between the MP3 frames are no "
            "sound"
        )


def _clean(stream: MpegStream) -> list[Piece]:
    """Returns the frames of a stream alone, behind an Info frame that counts them rightly."""
    pieces: list[Piece] = list(stream.ranges)
    if stream.whole:
        return pieces
    if stream.tagged:
        start, stop = stream.ranges[0]
        pieces[0] = (start + stream.first.length, stop)
    return [info_frame(stream.head, stream.frames), *pieces]
