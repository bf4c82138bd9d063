"""Selection of pseudo-labels as pure functions of tensors: calibrate, vote, align, select, bound.

>>> from pseudo_label import Pool, SelectionConfig, select
>>> selection = select(Pool(probs=probs, prior=prior, tie=tie, rate=0.3), SelectionConfig())
"""

from .calibration import Calibration, fit_calibration
from .config import SelectionConfig
from .pool import REASONS, Gold, Pool, Selection
from .preview import Preview, preview
from .rules import RULES
from .selection import cap_mass, select
from .voting import fit_weights, soft_vote

__all__ = [
    "REASONS",
    "RULES",
    "Calibration",
    "Gold",
    "Pool",
    "Preview",
    "Selection",
    "SelectionConfig",
    "cap_mass",
    "fit_calibration",
    "fit_weights",
    "preview",
    "select",
    "soft_vote",
]
