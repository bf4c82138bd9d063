"""The selection rules: RULES maps a name in the configuration to a pure function, one rule a file.

A rule is `rule(pool: Pool, config) -> Selection`; it says what it reads of the SelectionConfig. To
add one, write a file and put its function here.
"""

from __future__ import annotations

from .adamatch import adamatch
from .agreement import agreement
from .class_topk import class_topk, equal_topk
from .crest import crest
from .curriculum import curriculum
from .dash import dash
from .external import external
from .flexmatch import flexmatch
from .freematch import freematch
from .label_propagation import label_propagation
from .soft_allocation import soft_allocation
from .softmatch import softmatch
from .threshold import threshold
from .uncertainty import entropy, margin
from .ups import ups

RULES = {
    "threshold": threshold,
    "class_topk": class_topk,
    "equal_topk": equal_topk,
    "agreement": agreement,
    "soft_allocation": soft_allocation,
    "curriculum": curriculum,
    "flexmatch": flexmatch,
    "freematch": freematch,
    "softmatch": softmatch,
    "dash": dash,
    "adamatch": adamatch,
    "ups": ups,
    "crest": crest,
    "label_propagation": label_propagation,
    "margin": margin,
    "entropy": entropy,
    "external": external,
}

__all__ = ["RULES"]
