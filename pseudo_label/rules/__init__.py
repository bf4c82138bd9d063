"""The selection rules: RULES maps a name in the configuration to a pure function, one rule a file.

A rule is `rule(pool: Pool, config: SelectionConfig) -> Selection`. To add one, write a file and
put its function here.
"""

from __future__ import annotations

from .agreement import agreement
from .class_topk import class_topk, equal_topk
from .soft_allocation import soft_allocation
from .threshold import threshold

RULES = {
    "threshold": threshold,
    "class_topk": class_topk,
    "equal_topk": equal_topk,
    "agreement": agreement,
    "soft_allocation": soft_allocation,
}

__all__ = ["RULES"]
