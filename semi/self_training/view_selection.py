"""Which layers and modalities a recipe's student looks at: gold out-of-fold says, after all rounds.

What is tried of an encoder that gives several layers: all of them, its lower half, its middle and
its upper half, each joined under one covariance; of several modalities: all, and each alone. A
modality can hurt (texts that every actor reads say nothing of how), and which layers tell emotion
differs from encoder to encoder. On six corpora with 10 % labels this was worth 6 points of macro-F1
in mean over layer 3 and everything; chosen before the rounds instead of after them, 4.

Gold may be a poor judge: where every speaker has one label, folds of whole speakers say little, and
the best of several is the luckiest. So all layers together stay unless a half stands clearly above.

With a few dozen gold rows the pick is partly luck. So all that were compared label the pool for the
first round of the one that stays (`semi.training.committee`): with 20 labels this added 0 to 12
points on five corpora (two draws), with 50 labels it did nothing in mean, from 100 on it took a
little away and is not done. Averaging their final answers on test rows instead was no better.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from torch import Tensor

from models.fusion.config import ON_AXES

from ..config.learning import LearningConfig
from ..data.wording import counted
from ..evaluation.names import METRIC_NAMES
from ..training.committee import Committee, committee_of
from ..training.dataset import Dataset
from ..training.views import Views, layers_by_encoder, viewed
from .axes_selection import select_axes
from .floor import standing
from .gate import surprise
from .model_selection import MIN_GOLD, for_trials, linear_trial
from .pool_answers import pool_probabilities
from .rounds import Outcome, run_rounds
from .state import RoundState
from .tasks import TASKS

APART = 4  # layers from which on some are left out
LEAST_PAIRED = 10  # gold rows with several modalities, from which on gold says which one to hear
MARGIN = 0.5
"""Standard errors of the metric by which others must stand above all layers joined.

On three corpora with 20 to 200 labels (126 problems) what shipped was 0.9 points of macro-F1 better
in mean than with the best of three halves: 4.6 with 200 labels of a corpus whose speakers have one
label each, -1.3 at worst (another corpus, 50 labels); without a margin 0.6. All layers always: -4.
"""
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
        layered = any(parts != [view] for view, parts in tried[0].parts.items())
        sentence = f"of fewer than {APART} layers all are heard: {tried[0]}" if layered else ""
        return ViewSelection(viewed(dataset, tried[0]), config, tried[0], sentence)
    live = live or (lambda part, about: run_rounds(part, about))
    found, finals = {}, []
    trial, some = linear_trial(config), for_trials(dataset)
    for views in tried:
        part, about = viewed(some, views), heard_as(trial, views)
        final = live(part, about).final
        found[str(views)] = standing(part, final), views
        finals.append((part, final))
    margin = MARGIN * finals[0][1].se if _is_deep(dataset) else 0.0
    best = _best({name: value for name, (value, _) in found.items()}, margin)
    shown = ", ".join(f"{name} {value:+.3f}" for name, (value, _) in found.items())
    one_class = TASKS[config.task.kind].one_class
    less = " less half the log-loss" if one_class else ""
    sentence = (
        f"compared on {counted(len(dataset.gold), 'gold row')} out-of-fold after all rounds, "
        f"{METRIC_NAMES[config.rounds.metric]}{less}: {shown}; {best} it is"
    )
    if best == str(tried[0]) and margin:
        sentence += f" (others had to stand {margin:.3f} above it)"
    views = found[best][1]
    seen = viewed(dataset, views)
    if one_class and len(dataset.gold) < MIN_GOLD:
        seen.committee = _committee(some.pool, finals)
        sentence += ", and its first round learns what all of them say of the pool"
    standings = {name: value for name, (value, _) in found.items()}
    settled = heard_as(config, views)
    if one_class:
        settled, axes = select_axes(viewed(some, views), settled, live, standings[best])
        sentence += axes
    return ViewSelection(seen, settled, views, sentence, standings)


def _best(standings: dict[str, float], margin: float) -> str:
    """Returns the name that stands highest, by more than `margin` above the first, or that one."""
    first = next(iter(standings))
    best = max(standings, key=lambda name: standings[name])
    return best if standings[best] > standings[first] + margin else first


def _is_deep(dataset: Dataset) -> bool:
    encoders = layers_by_encoder(list(dataset.values))
    return any(len(parts) >= APART for parts in encoders.values())


def _committee(pool: Tensor, finals: list[tuple[Dataset, RoundState]]) -> Committee:
    """Returns what all that were compared say of the pool rows (r,)."""
    answers = [pool_probabilities(part, final) for part, final in finals]
    return committee_of(pool, answers, [surprise(part, final.outputs) for part, final in finals])


def heard_as(config: C, views: Views) -> C:
    """Returns the settings under which the quiet ones of `views` are quiet."""
    return replace(config, model=replace(config.model, quiet=views.quiet))


def candidates(dataset: Dataset) -> list[Views]:
    """Returns the views that are compared, the widest first: encoders at several depths.

    All encoders together and, where layers do not make it dear, one alone.
    """
    encoders = layers_by_encoder(list(dataset.values))
    tried: dict[str, Views] = {}
    for depth in ("all", "lower", "middle", "upper") if _is_deep(dataset) else ("",):
        parts = {name: _depth(layers, depth) for name, layers in encoders.items()}
        quiet = [[]]
        if len(parts) > 1 and depth != "all" and knows_quiet(dataset):
            quiet += [[other for other in parts if other != name] for name in parts]
        for names in quiet:
            views = Views(parts, names)
            tried.setdefault(str(views), views)
    return list(tried.values())


def knows_quiet(dataset: Dataset) -> bool:
    """Returns whether gold can tell what a quiet modality is worth: only rows with others feel it.

    Half of the gold rows or LEAST_PAIRED of them. Where one row in ten had both, a modality was
    picked by the luck of two to five rows, at a price of 0 to 9 points of macro-F1 on two corpora.
    """
    paired = int((dataset.present[dataset.gold].sum(1) > 1).sum())
    return paired >= min(LEAST_PAIRED, len(dataset.gold) / 2)


def _depth(layers: list[str], depth: str) -> list[str]:
    """Returns the lower, middle or upper half of an encoder's layers, or all; of a few all."""
    if len(layers) < APART or depth == "all":
        return layers
    half = len(layers) // 2
    start = {"lower": 0, "middle": half // 2, "upper": len(layers) - half}.get(depth, 0)
    return layers[start : start + half]
