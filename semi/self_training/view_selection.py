"""Which layers and modalities a recipe's student looks at: gold out-of-fold says, after all rounds.

What is tried of an encoder that gives several layers: its lower half, its middle and its upper
half, each joined under one covariance; of several modalities: all, and each alone. A modality can
hurt (texts that every actor reads say nothing of how), and which layers tell emotion differs from
encoder to encoder. On six corpora with 10 % labels this was worth 6 points of macro-F1 in mean
over layer 3 and everything; chosen before the rounds instead of after them, 4.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from models.fusion.config import ON_AXES

from ..config.learning import LearningConfig
from ..data.wording import counted
from ..evaluation.names import METRIC_NAMES
from ..training.dataset import Dataset
from ..training.views import Views, layers_by_encoder, viewed
from .floor import standing
from .model_selection import for_trials, linear_trial
from .rounds import Outcome, run_rounds
from .tasks import TASKS

APART = 4  # layers from which on some are left out
C = TypeVar("C", bound=LearningConfig)
Live = Callable[[Dataset, LearningConfig], Outcome]


@dataclass
class ViewSelection(Generic[C]):
    """The views that stay."""

    dataset: Dataset  # with these views
    config: C
    views: Views | None = None  # None: none were asked for
    sentence: str = ""  # what was compared and why this one stays
    standings: dict[str, float] = field(default_factory=dict)  # by name; see `standing`


def select_views(dataset: Dataset, config: C, live: Live | None = None) -> ViewSelection[C]:
    """Returns the dataset and settings with the views of which gold is known best after all rounds.

    Args:
        dataset: every layer a modality of its own, `speech.3`; see `semi.training.views`.
        config: settings that `semi.config.recipes.resolved` has been through.
        live: runs all rounds; without it in memory.
    """
    tried = candidates(dataset)
    free = not config.model.quiet and config.model.kind in ON_AXES
    if config.recipe == "none" or not free:
        return ViewSelection(dataset, config)
    if len(tried) < 2:
        return ViewSelection(viewed(dataset, tried[0]), config, tried[0])
    live = live or (lambda part, about: run_rounds(part, about))
    found = {}
    trial, some = linear_trial(config), for_trials(dataset)
    for views in tried:
        part, about = viewed(some, views), heard_as(trial, views)
        found[str(views)] = standing(part, live(part, about).final), views
    best = max(found, key=lambda name: found[name][0])
    shown = ", ".join(f"{name} {value:+.3f}" for name, (value, _) in found.items())
    less = " less half the log-loss" if TASKS[config.task.kind].one_class else ""
    sentence = (
        f"compared on {counted(len(dataset.gold), 'gold row')} out-of-fold after all rounds, "
        f"{METRIC_NAMES[config.rounds.metric]}{less}: {shown}; {best} it is"
    )
    views = found[best][1]
    standings = {name: value for name, (value, _) in found.items()}
    settled = heard_as(config, views)
    return ViewSelection(viewed(dataset, views), settled, views, sentence, standings)


def heard_as(config: C, views: Views) -> C:
    """Returns the settings under which the quiet ones of `views` are quiet."""
    return replace(config, model=replace(config.model, quiet=views.quiet))


def candidates(dataset: Dataset) -> list[Views]:
    """Returns the views that are compared: encoders at several depths, all of them or one alone."""
    encoders = layers_by_encoder(list(dataset.values))
    deep = any(len(parts) >= APART for parts in encoders.values())
    tried: dict[str, Views] = {}
    for depth in ("lower", "middle", "upper") if deep else ("",):
        parts = {name: _depth(layers, depth) for name, layers in encoders.items()}
        quiet = [[]]
        if len(parts) > 1:
            quiet += [[other for other in parts if other != name] for name in parts]
        for names in quiet:
            views = Views(parts, names)
            tried.setdefault(str(views), views)
    return list(tried.values())


def _depth(layers: list[str], depth: str) -> list[str]:
    """Returns the lower, middle or upper half of an encoder's layers; of a few all."""
    half = len(layers) // 2
    start = {"lower": 0, "middle": half // 2, "upper": len(layers) - half}.get(depth, 0)
    return layers[start : start + half] if len(layers) >= APART else layers
