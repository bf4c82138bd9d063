"""Some rows of a large table, copied as they are asked for and not before."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Taken:
    """Rows (..., r, K) of a table (..., N, K), in an order of their own.

    With `repeat` every entry of the first dimension comes so many times, one after the other.
    """

    table: Tensor
    rows: Tensor  # (r,) int64
    repeat: int = 1

    @property
    def shape(self) -> torch.Size:
        """Shape of all rows together."""
        first = [self.table.shape[0] * self.repeat] if self.table.dim() > 2 else []
        return torch.Size([*first, len(self.rows), self.table.shape[-1]])

    @property
    def device(self) -> torch.device:
        """Where the rows lie."""
        return self.table.device

    def at(self, part: slice) -> Tensor:
        """Returns some of the rows (..., b, K)."""
        found = self.table.index_select(-2, self.rows[part])
        return found if self.repeat == 1 else found.repeat_interleave(self.repeat, 0)


Rows = Tensor | Taken


def rows_of(table: Rows, part: slice) -> Tensor:
    """Returns some rows (..., b, K) of a table (..., r, K)."""
    return table.at(part) if isinstance(table, Taken) else table[..., part, :]


def whole(table: Rows) -> Tensor:
    """Returns all rows (..., r, K) of a table."""
    return rows_of(table, slice(None))
