"""The frames of an MP3 file counted by their headers: what is there, whatever a tag says of it.

Layout of a frame header, of Xing, Info and VBRI frames: ISO/IEC 11172-3, 13818-3 and
http://gabriel.mp3-tech.org/mp3infotag.html. Nothing is decoded.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import BinaryIO

HEAD = 40  # bytes of a frame that hold its header and, in an Info frame, the mark
WINDOW = 1 << 16  # searched for the next frame at a time
MPEG1, MPEG2 = 3, 2  # of the two bits; 0 is MPEG 2.5, 1 is none
KILOBITS = {  # by (MPEG 1?, layer)
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
INFO = (b"Xing", b"Info")
TOLERANCE = 2  # frames; some encoders count the Info frame, or not the last one
RATES = (44_100, 48_000, 32_000)  # of MPEG 1; half of it for MPEG 2, a quarter for 2.5


@dataclass(frozen=True)
class FrameHeader:
    """What the four bytes at the start of a frame say."""

    length: int  # bytes, this header among them
    samples: int  # a channel
    rate: int
    channels: int
    mark: int  # where an Info frame says so
    family: tuple[int, int, int]  # version, layer, rate: the same in all frames of a stream


@dataclass
class MpegStream:
    """Consecutive frames of one encoder run; files joined end to end hold several."""

    first: FrameHeader
    head: bytes  # the four bytes of its first frame
    ranges: list[tuple[int, int]] = field(default_factory=list)  # bytes of its frames in the file
    frames: int = 0  # counted, without the Info frame
    promised: int | None = None  # frames, as a Xing, Info or VBRI frame says
    trimmed: int = 0  # samples that the encoder added before and after, as the LAME tag says
    tagged: bool = False  # begins with an Info frame
    foreign: int = 0  # bytes between its frames that are neither frames nor tags
    cut: bool = False  # the file ends within its last frame

    @property
    def whole(self) -> bool:
        """Says that a frame count stands in the file, and is right."""
        return self.promised is not None and abs(self.promised - self.frames) <= TOLERANCE

    @property
    def samples(self) -> int:
        """Samples a channel, without what the encoder added."""
        return max(0, self.frames * self.first.samples - self.trimmed)


def mpeg_streams(file: BinaryIO, size: int) -> list[MpegStream]:
    """Returns the streams of a file of `size` bytes; [] where no frame or one of free format is.

    ID3, APE and Lyrics3 tags are passed over wherever they stand.
    """
    streams: list[MpegStream] = []
    at, trusted, skipped = after_tags(file, 0), -1, 0
    while at + 4 <= size:
        file.seek(at)
        head = file.read(HEAD)
        header = frame_header(head[:4])
        stream = streams[-1] if streams else None
        family = stream.first.family if stream else None
        if header is None or (header.family != family and at != trusted):
            after = after_tags(file, at)
            if after == at:  # another kind of frame is believed where a second one follows
                found = _next_frame(file, at, size)
                if found is None:
                    break
                skipped, trusted, after = skipped + found - at, found, found
            at = after
            continue
        tag = _info(file, at, header, head)
        other = stream is None or header.family != family
        if stream is None or other or tag is not None or header.channels != stream.first.channels:
            stream = MpegStream(header, head[:4])
            streams.append(stream)
        else:
            stream.foreign += skipped
        skipped = 0
        if at + header.length > size:
            stream.cut = True
            break
        if tag is not None:
            stream.tagged, (stream.promised, stream.trimmed) = True, tag
        else:
            stream.frames += 1
        after, count = _plain_frames(file, at + header.length, size, header)
        stream.frames += count
        if stream.ranges and stream.ranges[-1][1] == at:
            stream.ranges[-1] = (stream.ranges[-1][0], after)
        else:
            stream.ranges.append((at, after))
        at = after
    return [s for s in streams if s.frames or s.tagged or s.cut]


@functools.lru_cache(maxsize=4096)
def frame_header(head: bytes) -> FrameHeader | None:
    """Returns what four bytes say, None where no frame begins so (or one of free format)."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    bits, rate, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or layer == 4 or rate == 3 or bits in (0, 15):
        return None
    kilobits = KILOBITS[version == MPEG1, layer][bits - 1]
    hertz = RATES[rate] // (1 if version == MPEG1 else 2 if version == MPEG2 else 4)
    channels = 1 if head[3] >> 6 == 3 else 2
    if layer == 1:
        length, samples = (12_000 * kilobits // hertz + padding) * 4, 384
    else:
        samples = 576 if layer == 3 and version != MPEG1 else 1152
        length = samples // 8 * 1000 * kilobits // hertz + padding
    side = (17 if channels == 1 else 32) if version == MPEG1 else (9 if channels == 1 else 17)
    return FrameHeader(length, samples, hertz, channels, 4 + side, (version, layer, rate))


def info_frame(head: bytes, frames: int) -> bytes:
    """Returns an Info frame that promises `frames` frames of the kind that `head` begins."""
    for bits in range(1, 15):
        four = bytes([0xFF, head[1] | 1, bits << 4 | head[2] & 0x0C, head[3]])
        header = frame_header(four)
        if header is not None and header.length >= header.mark + 16:
            break
    else:
        raise ValueError(f"no frame begins with {head.hex()}")
    body = four + bytes(header.mark - 4) + b"Info" + bytes([0, 0, 0, 1]) + frames.to_bytes(4, "big")
    return body + bytes(header.length - len(body))


def _info(
    file: BinaryIO, at: int, header: FrameHeader, head: bytes
) -> tuple[int | None, int] | None:
    """Returns (frames, trimmed samples) of an Info frame; None where it is a frame of sound."""
    if header.family[1] != 3:
        return None
    if head[header.mark : header.mark + 4] in INFO:
        file.seek(at + header.mark + 4)
        tag = file.read(160)
        flags = int.from_bytes(tag[:4], "big")
        frames = int.from_bytes(tag[4:8], "big") if flags & 1 else 0
        lame = 4 + 4 * (flags & 1) + 2 * (flags & 2) + 25 * (flags & 4) + (flags & 8) // 2
        gap = int.from_bytes(tag[lame + 21 : lame + 24], "big")
        named = tag[lame : lame + 4] in (b"LAME", b"Lavf", b"Lavc", b"GOGO")
        return frames or None, (gap >> 12) + (gap & 0xFFF) if named else 0
    if head[36:40] == b"VBRI":
        file.seek(at + 36 + 14)
        return int.from_bytes(file.read(4), "big") or None, 0
    return None


def _family(file: BinaryIO, at: int) -> tuple[int, int, int] | None:
    file.seek(at)
    header = frame_header(file.read(4))
    return None if header is None else header.family


def _plain_frames(file: BinaryIO, at: int, size: int, like: FrameHeader) -> tuple[int, int]:
    """Returns where the frames from `at` on that are of one kind and no Info end, and their number.

    The loop that all time goes to: an hour of speech is 140,000 frames.
    """
    count, mark = 0, like.mark
    while at + HEAD <= size:
        file.seek(at)
        window = file.read(WINDOW)
        place, last = 0, min(len(window) - HEAD, size - at - HEAD)
        while place <= last:
            header = frame_header(window[place : place + 4])
            if (
                header is None
                or header.family != like.family
                or header.channels != like.channels
                or window[place + mark : place + mark + 4] in INFO
                or at + place + header.length > size
            ):
                return at + place, count
            count += 1
            place += header.length
        at += place
        if place == 0:
            break
    return at, count


def after_tags(file: BinaryIO, at: int) -> int:
    """Returns where the tags that begin at `at` end."""
    while True:
        file.seek(at)
        head = file.read(32)
        if head[:3] == b"ID3" and len(head) >= 10 and max(head[6:10]) < 128:
            length = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
            at += 10 + length + (10 if head[5] & 0x10 else 0)
        elif head[:4] == b"TAG+":
            at += 227
        elif head[:3] == b"TAG":
            at += 128
        elif head[:8] == b"APETAGEX":
            at += int.from_bytes(head[12:16], "little") + (32 if head[23:24] >= b"\x80" else 0)
        else:
            return at


def _next_frame(file: BinaryIO, at: int, size: int) -> int | None:
    """Returns where the next frame begins that another of its kind, or the end, follows."""
    while at + 4 <= size:
        file.seek(at)
        window = file.read(WINDOW)
        place = window.find(b"\xff")
        while 0 <= place < len(window) - 3:
            header = frame_header(window[place : place + 4])
            if header is not None:
                after = at + place + header.length
                if after == size or _family(file, after) == header.family:
                    return at + place
            place = window.find(b"\xff", place + 1)
        at += max(1, len(window) - 3)
    return None
