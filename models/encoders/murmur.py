"""MurmurHash3 of many short byte strings at once: the same numbers on every machine.

As in Appleby's MurmurHash3_x86_32 with seed 0, https://github.com/aappleby/smhasher. Written out
here because the libraries that hold it cost a second of CPU to import, to hash one sentence.
"""

from __future__ import annotations

import numpy as np


def murmur3(keys: list[bytes]) -> np.ndarray:
    """Returns the hash (N,) int32 of each byte string."""
    length = np.array([len(key) for key in keys], np.int64)
    begin = length.cumsum() - length
    content = np.frombuffer(b"".join(keys) + bytes(4), np.uint8).astype(np.uint32)
    hashed = np.zeros(len(keys), np.uint32)
    active = np.arange(len(keys))
    for block in range(int(length.max(initial=0)) // 4):
        active = active[length[active] >= 4 * (block + 1)]
        mixed = hashed[active] ^ _scrambled(_word(content, begin[active] + 4 * block))
        hashed[active] = _rotated(mixed, 13) * np.uint32(5) + np.uint32(0xE6546B64)
    rest = length % 4  # bytes behind the last whole block
    mask = ((np.uint64(1) << (8 * rest).astype(np.uint64)) - np.uint64(1)).astype(np.uint32)
    hashed ^= _scrambled(_word(content, begin + length - rest) & mask)
    hashed ^= length.astype(np.uint32)
    hashed = (hashed ^ (hashed >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    hashed = (hashed ^ (hashed >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return (hashed ^ (hashed >> np.uint32(16))).view(np.int32)


def _word(content: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Returns the four bytes from each place on, as little-endian numbers (n,) uint32."""
    word = content[at]
    for byte in (1, 2, 3):
        word |= content[at + byte] << np.uint32(8 * byte)
    return word


def _scrambled(word: np.ndarray) -> np.ndarray:
    return _rotated(word * np.uint32(0xCC9E2D51), 15) * np.uint32(0x1B873593)


def _rotated(word: np.ndarray, bits: int) -> np.ndarray:
    return (word << np.uint32(bits)) | (word >> np.uint32(32 - bits))
