"""Selection of pseudo-labels as pure functions of tensors: calibrate, vote, align, select, bound.

>>> from pseudo_label import Pool, SelectionConfig, select
>>> selection = select(Pool(probs=probs, prior=prior, tie=tie, rate=0.3), SelectionConfig())
"""

from .config import SelectionConfig
from .pool import REASONS, Gold, Pool, Selection
from .rules import RULES
from .selection import select

__all__ = ["REASONS", "RULES", "Gold", "Pool", "Selection", "SelectionConfig", "select"]
