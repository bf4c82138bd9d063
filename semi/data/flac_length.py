"""How long a FLAC file is by its frames: one written into a pipe does not know, others may lie.

It follows from the last frame, which says where it begins. RFC 9639:
https://www.rfc-editor.org/rfc/rfc9639.
"""

from __future__ import annotations

from functools import cache
from typing import BinaryIO

TAIL = 1 << 17  # bytes at the end in which the last frame begins
STREAM = b"fLaC\0\0\0\x22"  # a file begins so, and the next one where several are joined
SAMPLES_AT = 21  # of 36 bits, the number of samples, in the file


def told_length(head: bytes) -> int:
    """Returns the number of samples that the first 26 bytes of a file promise, 0 = unknown."""
    return int.from_bytes(head[SAMPLES_AT : SAMPLES_AT + 5], "big") & ((1 << 36) - 1)


def mended_header(head: bytes, samples: int) -> bytes:
    """Returns the five bytes that belong at SAMPLES_AT for this number of samples."""
    kept = int.from_bytes(head[SAMPLES_AT : SAMPLES_AT + 5], "big") >> 36 << 36
    return (kept | samples).to_bytes(5, "big")


def flac_streams(file: BinaryIO, size: int) -> list[tuple[int, int]]:
    """Returns the first byte of each file that is joined here, and the one after its last."""
    starts, at, tail = [], 0, b""
    file.seek(0)
    while block := file.read(1 << 20):
        window, base = tail + block, at - len(tail)
        found = window.find(STREAM)
        while found >= 0:
            starts.append(base + found)
            found = window.find(STREAM, found + 1)
        tail, at = window[-len(STREAM) + 1 :], at + len(block)
    return list(zip(starts, [*starts[1:], size], strict=True))


def counted_length(file: BinaryIO, head: bytes, size: int) -> int | None:
    """Returns the samples up to the end of the last frame; None where no whole frame ends there."""
    file.seek(max(0, size - TAIL))
    tail = file.read(TAIL)
    at = len(tail)
    while (at := tail.rfind(b"\xff", 0, at)) >= 0:
        if tail[at + 1 : at + 2] in (b"\xf8", b"\xf9"):
            stop = _frame(tail[at:], int.from_bytes(head[8:10], "big"))
            if stop is not None and not crc(tail[at:], 16, 0x8005):
                return stop
    return None


def _frame(frame: bytes, block: int) -> int | None:
    """Returns the number of samples up to the end of a frame; None where none begins here."""
    number, at = _coded_number(frame, 4)
    if number is None or frame[3] & 1 or not frame[2] >> 4:  # no length is coded so
        return None
    code = frame[2] >> 4
    if code in (6, 7):
        length = int.from_bytes(frame[at : at + code - 5], "big") + 1
        at += code - 5
    else:
        length = 192 if code == 1 else 576 << code - 2 if code < 6 else 256 << code - 8
    at += {12: 1, 13: 2, 14: 2}.get(frame[2] & 0x0F, 0)  # the rate, where it stands here
    if crc(frame[: at + 1], 8, 0x07):
        return None
    return (number if frame[1] & 1 else number * block) + length


def _coded_number(frame: bytes, at: int) -> tuple[int | None, int]:
    """Returns a number written as in UTF-8, and the place behind it."""
    if at >= len(frame):
        return None, at
    first = frame[at]
    more = 0 if first < 0x80 else 8 - (first ^ 0xFF).bit_length() - 1
    rest = frame[at + 1 : at + 1 + more]
    if first == 0xFF or 0x80 <= first < 0xC0 or len(rest) < more:
        return None, at
    number = first & (0x7F if not more else 0x3F >> more)
    for byte in rest:
        if byte >> 6 != 2:
            return None, at
        number = number << 6 | byte & 0x3F
    return number, at + 1 + more


def crc(data: bytes, bits: int, polynomial: int) -> int:
    """Returns the checksum of bytes; 0 where they end with their own."""
    table, value, up, mask = _remainders(bits, polynomial), 0, bits - 8, (1 << bits) - 1
    for byte in data:
        value = (value << 8 & mask) ^ table[value >> up ^ byte]
    return value


@cache
def _remainders(bits: int, polynomial: int) -> list[int]:
    """Returns the checksum of each byte."""
    top, mask, table = 1 << bits - 1, (1 << bits) - 1, []
    for byte in range(256):
        value = byte << bits - 8
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & mask
        table.append(value)
    return table
