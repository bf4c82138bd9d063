"""The pages of an Ogg file: its links, and whether each is whole. Nothing is decoded.

RFC 3533 describes pages: https://www.rfc-editor.org/rfc/rfc3533. A chained file is several whole
streams end to end, as players of internet radio write them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from .flac_length import crc

BEGINS, ENDS = 0x02, 0x04  # flags of a stream's first and last page


@dataclass
class OggLink:
    """One link of a chain: the streams that begin together."""

    start: int  # bytes in the file
    stop: int
    codec: str  # of its first stream: vorbis, opus, flac, speex or ''
    missing: int = 0  # pages that the numbers pass over
    cut: bool = False  # the file ends within a page
    damaged: bool = False  # bytes between pages, or the first or last page is not as written


def ogg_links(file: BinaryIO, size: int) -> list[OggLink]:
    """Returns the links of a file of `size` bytes; [] where it is no Ogg file."""
    links: list[OggLink] = []
    number: dict[int, int] = {}  # of the last page of each stream
    at, fresh, ended, last, headers = 0, True, False, 0, True
    while at < size:
        file.seek(at)
        head = file.read(27)
        if head[:4] != b"OggS":
            if links and b"OggS".startswith(head[:4]) and at + len(head) == size:
                links[-1].cut = True
            elif links:
                links[-1].damaged |= not ended or _goes_on(file, at)
            break
        lengths = file.read(head[26]) if len(head) == 27 else b""
        stop = at + 27 + len(lengths) + sum(lengths)
        if len(head) < 27 or len(lengths) < head[26] or stop > size:
            if links:
                links[-1].cut = True
            break
        flags, serial = head[5], int.from_bytes(head[14:18], "little")
        page = int.from_bytes(head[18:22], "little")
        if flags & BEGINS:
            if fresh or not links:
                links.append(OggLink(at, stop, _codec(file.read(8))))
                number, headers = {}, True
            fresh = False
        else:
            fresh = True  # the next stream that begins, begins a link
            if serial in number and links:
                links[-1].missing += max(0, page - number[serial] - 1)
        number[serial], ended, last = page, bool(flags & ENDS), at
        if links:
            links[-1].stop = stop
            if headers or ended:
                links[-1].damaged |= not _is_as_written(file, at, stop)
            headers &= head[6:14] in (b"\0" * 8, b"\xff" * 8)  # no sound ends on this page
        at = stop
    if links and not links[-1].cut:
        links[-1].damaged |= not _is_as_written(file, last, links[-1].stop)
    return links


def _goes_on(file: BinaryIO, at: int) -> bool:
    """Says whether another page begins somewhere after `at`."""
    file.seek(at)
    tail = b""
    while block := file.read(1 << 20):
        if b"OggS" in tail + block:
            return True
        tail = block[-3:]
    return False


def _is_as_written(file: BinaryIO, start: int, stop: int) -> bool:
    """Says whether a page has its checksum.

    Decoders pass over one that has not. They notice in the middle, but where the first or the last
    page of sound is passed over they take the sound to be shorter.
    """
    file.seek(start)
    page = file.read(stop - start)
    checksum = int.from_bytes(page[22:26], "little")
    return crc(page[:22] + b"\0\0\0\0" + page[26:], 32, 0x04C11DB7) == checksum


def _codec(packet: bytes) -> str:
    known = {b"\x01vorbis": "vorbis", b"OpusHead": "opus", b"\x7fFLAC": "flac", b"Speex": "speex"}
    return next((name for mark, name in known.items() if packet.startswith(mark)), "")
