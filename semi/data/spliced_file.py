"""Ranges of a file, and bytes of one's own between them, read as one file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import BinaryIO

Piece = bytes | tuple[int, int]  # bytes, or (first byte, byte after the last) of the file


class SplicedFile(io.RawIOBase):
    """A file that is made of pieces of another one; it closes that one with itself.

    So a decoder can be given a part of a chained file, or a file with its header mended, and
    nothing is copied.
    """

    def __init__(self, file: BinaryIO, pieces: Sequence[Piece]) -> None:
        self._file, self._pieces = file, list(pieces)
        self._starts, self._size = [], 0
        for piece in self._pieces:
            self._starts.append(self._size)
            self._size += len(piece) if isinstance(piece, bytes) else piece[1] - piece[0]
        self._at = 0

    def readable(self) -> bool:
        """Says that it can be read."""
        return True

    def seekable(self) -> bool:
        """Says that any place can be gone to."""
        return True

    def tell(self) -> int:
        """Returns the place, in bytes from the start."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Goes to a place and returns it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer) -> int:
        """Fills the buffer and returns how many bytes there were."""
        view, done = memoryview(buffer).cast("B"), 0
        for start, piece in zip(self._starts, self._pieces, strict=True):
            size = len(piece) if isinstance(piece, bytes) else piece[1] - piece[0]
            offset = self._at - start
            if offset < 0 or offset >= size or done == len(view):
                continue
            count = min(size - offset, len(view) - done)
            if isinstance(piece, bytes):
                data = piece[offset : offset + count]
            else:
                self._file.seek(piece[0] + offset)
                data = self._file.read(count)
            view[done : done + len(data)] = data
            done += len(data)
            self._at += len(data)
            if len(data) < count:
                break
        return done

    def close(self) -> None:
        """Closes the file below, too."""
        self._file.close()
        super().close()
