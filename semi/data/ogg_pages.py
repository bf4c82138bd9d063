"""The pages of an Ogg file: its links, and whether each is whole. Nothing is decoded.

RFC 3533 describes pages: https://www.rfc-editor.org/rfc/rfc3533. A chained file is several whole
streams end to end, as players of internet radio write them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

BEGINS, ENDS = 0x02, 0x04  # flags of a stream's first and last page


@dataclass
class OggLink:
    """One link of a chain: the streams that begin together."""

    start: int  # bytes in the file
    stop: int
    codec: str  # of its first stream: vorbis, opus, flac, speex or ''
    missing: int = 0  # pages that the numbers pass over
    cut: bool = False  # the file ends within a page


def ogg_links(file: BinaryIO, size: int) -> list[OggLink]:
    """Returns the links of a file of `size` bytes; [] where it is no Ogg file."""
    links: list[OggLink] = []
    number: dict[int, int] = {}  # of the last page of each stream
    at, fresh = 0, True
    while at < size:
        file.seek(at)
        head = file.read(27)
        if head[:4] != b"OggS":
            if links and b"OggS".startswith(head[:4]) and at + len(head) == size:
                links[-1].cut = True
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
                number = {}
            fresh = False
        else:
            fresh = True  # the next stream that begins, begins a link
            if serial in number and links:
                links[-1].missing += max(0, page - number[serial] - 1)
        number[serial] = page
        if links:
            links[-1].stop = stop
        at = stop
    return links


def _codec(packet: bytes) -> str:
    known = {b"\x01vorbis": "vorbis", b"OpusHead": "opus", b"\x7fFLAC": "flac", b"Speex": "speex"}
    return next((name for mark, name in known.items() if packet.startswith(mark)), "")
