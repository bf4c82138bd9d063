"""The sides that the rows of a manifest are on: what drawing them returns and checks read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

ROLES = ("labeled", "pool", "dev", "test", "unused")


@dataclass
class Splits:
    """The side of every utterance; rows are in the manifest's order."""

    role: np.ndarray  # (N,) str of ROLES: gold for training, unlabelled pool, dev, test, unused
    label: np.ndarray  # (N,) int gold class or -1; hidden gold of pool rows stays, for reports only
    target: np.ndarray  # (N, C) float32 one-hot or vote shares; zeros where no gold may be used
    group: np.ndarray  # (N,) str; a row without a known group is a group of its own
    fold: np.ndarray  # (N,) int out-of-fold index 0..K-1 of labeled rows, -1 elsewhere
    notes: list[str] = field(default_factory=list)  # what was decided, in sentences
    group_kind: str = "none"  # speaker, session, dialogue or none

    @property
    def folds(self) -> int:
        """Returns K, the number of out-of-fold parts that really exist."""
        return int(self.fold.max()) + 1 if len(self.fold) else 0
