"""Many comparisons at once: p-values that still hold together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns Holm's step-down adjusted p-values (Scand. J. Statist. 1979), in the given order."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    factor = len(p) - np.arange(len(p))
    adjusted = np.minimum(1.0, np.maximum.accumulate(p[order] * factor))
    out = np.empty(len(p))
    out[order] = adjusted
    return out.tolist()
