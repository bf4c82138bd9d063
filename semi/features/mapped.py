"""Vectors of many rows, left in the file that holds them: read, and scaled, as they are asked for.

Letters: N rows, D numbers of a vector, b rows of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

MANY = 131_072  # rows from which on vectors stay in their file
READ_AT_ONCE = 4096  # rows read at once: scattered ones bring their neighbours into memory
Read = Callable[[np.ndarray], np.ndarray]  # places in a file (b,) int64 -> (b, D) numbers
Scale = Callable[[Tensor, Tensor], Tensor]  # values (b, D) and their rows (b,) -> (b, D')


@dataclass
class MappedVectors:
    """The vectors (N, D) of a table's rows as a file holds them; what is sliced out is float32.

    A `Vectors` as a tensor is one. Where what was read is given back to the system at once, a few
    megabytes of ten gigabytes are ever in memory.
    """

    read: Read
    at: np.ndarray  # (N,) int64 place of each row
    present: Tensor  # (N,) bool; the others are zeros
    width: int
    scale: Scale | None = None

    @property
    def shape(self) -> torch.Size:
        """(N, D)."""
        return torch.Size([len(self.at), self.width])

    @property
    def dtype(self) -> torch.dtype:
        """Of what is sliced out."""
        return torch.float32

    @property
    def device(self) -> torch.device:
        """Of what is sliced out."""
        return torch.device("cpu")

    def __len__(self) -> int:
        return len(self.at)

    def __getitem__(self, rows: Any) -> Tensor:
        """Returns (b, D) of a slice, of row numbers (b,) or where a mask (N,) is true."""
        if isinstance(rows, slice):
            rows = torch.arange(*rows.indices(len(self)))
        rows = torch.as_tensor(rows)
        rows = rows.nonzero()[:, 0] if rows.dtype == torch.bool else rows.cpu()
        found = torch.empty(len(rows), self.width)
        for start in range(0, len(rows), READ_AT_ONCE):
            part = slice(start, start + READ_AT_ONCE)
            found[part] = self._read(rows[part])
        return found

    def _read(self, rows: Tensor) -> Tensor:
        with np.errstate(over="ignore"):  # of rows that are left out below
            read = self.read(self.at[rows.numpy()])
            values = torch.from_numpy(read.astype(np.float32, copy=False))
        here = self.present[rows]
        if not bool(here.all()):
            values[~here] = 0.0
        return values if self.scale is None else self.scale(values, rows)

    def split(self, rows: int) -> Iterator[Tensor]:
        """Yields all vectors, so many rows at a time."""
        some = max(1, READ_AT_ONCE // rows) * rows
        for start in range(0, len(self), some):
            yield from self[start : start + some].split(rows)

    def dim(self) -> int:
        """Two: one vector a row."""
        return 2

    def to(self, device: torch.device | str) -> Any:
        """Returns the vectors on a device: on a GPU all of them, on the CPU these."""
        device = torch.device(device)
        if device.type == "cpu":
            return self
        found, start = torch.empty(self.shape, device=device), 0
        for part in self.split(READ_AT_ONCE):
            found[start : start + len(part)] = part.to(device)
            start += len(part)
        return found

    def scaled(self, scale: Scale, width: int) -> MappedVectors:
        """Returns the vectors as `scale` changes them, to so many columns; it may write over them.

        ValueError where they are scaled already.
        """
        if self.scale is not None:
            raise ValueError("the vectors are scaled already")
        return replace(self, scale=scale, width=width)
