"""What the header of a sound file promises in bytes, beside what the file holds.

Read of the containers alone, so it is the same for every codec inside: RIFF, RIFX and RF64 (WAV),
Sony Wave64, AIFF and other EA IFF 85 files, AU and NIST Sphere. Decoders read a file that was cut
short as a shorter sound.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import BinaryIO, Literal

PIPED = 0x7F000000  # a length of 32 bits from here on stands for an unknown one
SOUND = (b"data", b"SSND", b"BODY")  # chunks that hold the samples
W64_RIFF = bytes.fromhex("726966662e91cf11a5d628db04c10000")
W64_DATA = bytes.fromhex("64617461f3acd3118cd100c04f8edb8a")
Order = Literal["big", "little"]
LEAST = 4096  # bytes after the sound that need no explanation


@dataclass
class SoundBytes:
    """Where the samples of a file lie."""

    at: int  # the first of their bytes
    promised: int | None  # how many; None where whoever wrote the header could not know
    there: int  # bytes from `at` to the end of the file
    unexplained: int = 0  # bytes after the sound that are no chunk of the container
    mended: list[tuple[int, bytes]] = field(default_factory=list)  # bytes put right, by place

    @property
    def cut_short(self) -> bool:
        """Says that more is promised than there is."""
        if self.promised is None:
            return False
        return self.there < self.promised - min(self.promised // 100, 2 * LEAST)


def sound_bytes(file: BinaryIO, size: int) -> SoundBytes | None:
    """Returns where the samples of a file of `size` bytes lie; None for other kinds of file."""
    file.seek(0)
    head = file.read(40)
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return _chunks(file, size, big_endian=False)
    if head[:4] == b"RIFX" and head[8:12] == b"WAVE":
        return _chunks(file, size, big_endian=True)
    if head[:4] == b"FORM":
        return _chunks(file, size, big_endian=True)
    if head[:16] == W64_RIFF:
        return _wave64(file, size)
    if head[:4] in (b".snd", b"dns."):
        order: Order = "big" if head[:4] == b".snd" else "little"
        at, promised = (int.from_bytes(head[k : k + 4], order) for k in (4, 8))
        found = _known(at, promised, size)
        if found is not None and found.promised is None:
            found.mended = [(8, min(found.there, 0xFFFFFFFF).to_bytes(4, order))]
        return found
    if head[:7] == b"NIST_1A":
        file.seek(0)
        return _sphere(file.read(1024), size)
    return None


def _known(at: int, promised: int, size: int) -> SoundBytes | None:
    """Returns the place of samples; a length of nothing although bytes follow is an unknown one."""
    unknown = promised >= PIPED or promised == 0
    if at > size:
        return None
    if unknown:
        return SoundBytes(at, None, size - at)
    rest = size - at - promised
    return SoundBytes(at, promised, size - at, rest if rest > LEAST else 0)


def _chunks(file: BinaryIO, size: int, *, big_endian: bool) -> SoundBytes | None:
    order: Order = "big" if big_endian else "little"
    at, long_at, comm_at = 12, 0, 0
    while at + 8 <= size:
        file.seek(at)
        name, length = file.read(4), int.from_bytes(file.read(4), order)
        start, there = at + 8, size - at - 8
        if name == b"ds64":  # the lengths of RF64, which do not fit in 32 bits
            long_at = start + 8
        if name == b"COMM":
            comm_at = start
        if name in SOUND and long_at and length == 0xFFFFFFFF:
            file.seek(long_at)
            length = int.from_bytes(file.read(8), "little")
            right = [(long_at, there.to_bytes(8, "little"))] if not length else []
            return SoundBytes(start, length or None, there, mended=right)
        if name in SOUND:
            rest = _unexplained(file, start + length, size, order)
            if length >= PIPED > there or (length == 0 and rest):
                right = [(at + 4, min(there, 0xFFFFFFFF).to_bytes(4, order))]
                if comm_at:
                    right += _frames_mended(file, comm_at, there - 8)
                return SoundBytes(start, None, there, mended=right)
            return SoundBytes(start, length, there, rest)
        at = start + length + length % 2
    return None


def _frames_mended(file: BinaryIO, comm_at: int, bytes_there: int) -> list[tuple[int, bytes]]:
    """Returns the number of frames that belongs into the chunk COMM of an AIFF file."""
    file.seek(comm_at)
    comm = file.read(8)
    width = int.from_bytes(comm[:2], "big") * -(-int.from_bytes(comm[6:8], "big") // 8)
    return [(comm_at + 2, (bytes_there // width).to_bytes(4, "big"))] if width else []


def _unexplained(file: BinaryIO, at: int, size: int, order: Order) -> int:
    """Returns how many bytes from `at` on are no chunk; a few may be anything."""
    while at + 8 <= size:
        padded = at + at % 2
        file.seek(padded)
        name, length = file.read(4), int.from_bytes(file.read(4), order)
        if not re.fullmatch(rb"[ -~]{4}", name) or padded + 8 + length > size + 1:
            break
        at = padded + 8 + length
    return size - at if size - at > LEAST else 0


def _wave64(file: BinaryIO, size: int) -> SoundBytes | None:
    at = 40
    while at + 24 <= size:
        file.seek(at)
        name, length = file.read(16), int.from_bytes(file.read(8), "little")
        if name == W64_DATA:
            if 24 < length < 1 << 62:
                return SoundBytes(at + 24, length - 24, size - at - 24)
            right = [(at + 16, (size - at).to_bytes(8, "little"))]
            return SoundBytes(at + 24, None, size - at - 24, mended=right)
        at += max(24, length + -length % 8)
    return None


def _sphere(head: bytes, size: int) -> SoundBytes | None:
    """NIST Sphere, as TIMIT and the Switchboard corpora have it: text, then samples."""
    lines = head.split(b"\n")
    values = dict(re.findall(rb"(\w+) -i (\d+)", head))
    coding = re.search(rb"sample_coding -s\d+ (\S+)", head)
    plain = coding is None or coding[1] in (b"pcm", b"ulaw", b"mu-law", b"alaw")
    try:
        at = int(lines[1])
        count, width = int(values[b"sample_count"]), int(values[b"sample_n_bytes"])
    except (IndexError, ValueError, KeyError):
        return None
    promised = count * width * int(values.get(b"channel_count", b"1"))
    return _known(at, promised, size) if plain else None
