"""Whether the axes of several modalities are stretched along what these share; gold decides.

Between modalities that tell the same, pairs without any label show where emotion lies, and a
student of few labels starts better there. Where they share something else (texts that each actor
reads) the same stretch costs points, so it stays only where gold out-of-fold is for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from ..config.learning import LearningConfig
from ..training.dataset import Dataset
from .floor import standing
from .model_selection import linear_trial
from .rounds import Outcome

C = TypeVar("C", bound=LearningConfig)
STRETCH = 3.0  # of `contrast.axes`; 10 gained as much where it gains, and cost more elsewhere
LEAST_GAIN = 0.02
"""By this much must gold's `standing` be higher.

With 20 and 50 labels of three corpora (36 problems) what was above was worth 2.7 points of macro-F1
on test rows in mean, what was below -0.4.
"""


def select_axes(
    dataset: Dataset, config: C, live: Callable[[Dataset, C], Outcome], plain: float
) -> tuple[C, str]:
    """Returns the settings with `contrast.axes` as gold prefers, and what was compared.

    Args:
        dataset: with the views that stay.
        config: of recipe auto.
        live: runs all rounds of a configuration.
        plain: what the same views are worth on principal axes, after all rounds.
    """
    if len(dataset.dims) < 2 or config.contrast.axes or "contrast.axes" in config.given:
        return config, ""
    stretched = replace(config, contrast=replace(config.contrast, axes=STRETCH))
    gain = standing(dataset, live(dataset, linear_trial(stretched)).final) - plain
    better = gain > LEAST_GAIN
    sentence = (
        f"; on axes stretched along what modalities share {gain:+.3f}, "
        f"{'more' if better else 'not more'} than {LEAST_GAIN:g}: "
        f"{'stretched they are' if better else 'principal axes it is'}"
    )
    return (stretched if better else config), sentence
