"""Draws by a hash of seed and name: the same for any order of the rows, and steady as rows come."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass
class GoldRows:
    """The labelled rows that a draw is made among."""

    ids: np.ndarray  # (n,) str
    label: np.ndarray  # (n,) int class
    group: np.ndarray  # (n,) str; a row without a known group is a group of its own

    def __len__(self) -> int:
        """Returns the number of rows n."""
        return len(self.label)

    def at(self, rows: np.ndarray) -> GoldRows:
        """Returns some of the rows."""
        return GoldRows(self.ids[rows], self.label[rows], self.group[rows])


def hashed(names: Iterable[object], seed: int, what: str) -> np.ndarray:
    """Returns a number (n,) uint64 for each name, as if drawn at random for this seed and purpose.

    The first 8 bytes of BLAKE2b of "seed/what/name": alike on every machine and version.
    """
    import numpy as np

    start = f"{seed}/{what}/".encode()
    digests = [
        hashlib.blake2b(start + str(name).encode("utf-8", "surrogatepass"), digest_size=8).digest()
        for name in names
    ]
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def shuffled(names: np.ndarray, seed: int, what: str) -> np.ndarray:
    """Returns the places (n,) of distinct names in an order drawn for this seed and purpose."""
    import numpy as np

    return np.lexsort((names.astype(str), hashed(names.tolist(), seed, what)))
