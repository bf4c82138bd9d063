"""A line on stderr for each cell of many that has ended."""

from __future__ import annotations

import sys
import time


def tell_progress(done: int, total: int, what: str, begun: float) -> None:
    """Prints how many are done, the last of them, and how long the others will take.

    Args:
        done: cells that have ended.
        total: cells of this call.
        what: the one that ended last.
        begun: `time.monotonic()` of the first one's start.
    """
    spent = time.monotonic() - begun
    left = spent / done * (total - done)
    print(f"{done}/{total} {what}: {spent:.0f} s, about {left:.0f} s to go",
          file=sys.stderr, flush=True)  # fmt: skip
