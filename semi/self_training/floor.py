"""The floor: what labels alone are worth to plain linear models. No run ships less.

Round 0 of the recipe is its own student, or the best of these where it stands clearly above that,
each with its strength chosen by gold out-of-fold. Self-training that does not beat logistic
regression on the same vectors has not helped anybody, whatever it gained over a start of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from torch import Tensor

from models.fusion.config import ON_AXES

from ..config.learning import LearningConfig
from ..training.dataset import MANY_ROWS, Dataset
from ..training.students import STUDENTS
from .gate import judged, surprise
from .state import RoundState
from .targets import targets_of

OWN = "own student"
LUCK = 0.6
"""By this over the root of the number of gold rows must a plain model stand above the own student.

Of nine models tried on a few dozen rows one is best by chance. On six corpora with 20 to 1,100
labels (78 problems) starts picked without it were 0.7 points of macro-F1 below those of the own
student on test rows in mean, with it 0.1; logistic regressions alone were 5.9 below.
"""
NATS = 0.5  # what a nat of information about gold counts beside the gate's metric (0 to 1)
RIDGE_COMPONENTS = 50  # components that ridge regression sees, beside those of the run's own
FLOOR_COMPONENTS = 200  # components that the floor's models see
PENALTIES = (1.0, 10.0, 100.0)
SHRINKAGES = (0.05, 0.4, 0.8)


@dataclass
class Plain:
    """A plain model: what it is called and how it is trained."""

    name: str  # for people: the kind
    strength: str  # for people: how it was regularised
    model: dict[str, Any]  # settings of section model
    imbalance: str | None = None  # of section train; None: as it is there


def plain_models(config: LearningConfig) -> list[Plain]:
    """Returns what is compared: models by kind and strength."""
    if config.task.kind == "affect":
        return [
            Plain("ridge regression", f"{width} components",
                  {"kind": "ridge", "widen": False, "components": width})
            for width in (config.model.components, RIDGE_COMPONENTS)
        ]  # fmt: skip
    regression = [
        Plain(
            "logistic regression",
            f"penalty {penalty:g}{'' if even else ', classes as they come'}",
            {"kind": "logistic", "penalty": penalty, "components": FLOOR_COMPONENTS},
            None if even else "none",
        )
        for penalty in PENALTIES
        for even in (True, False)
    ]
    analysis = [
        Plain(
            "linear discriminant analysis",
            f"shrinkage {shrinkage:g}",
            {"kind": "discriminant", "shrinkage": shrinkage},
        )
        for shrinkage in SHRINKAGES
    ]
    return regression + analysis


def standing(dataset: Dataset, state: RoundState) -> float:
    """Returns what a judged round is worth on gold out-of-fold, to compare models by.

    The gate's metric, and what the model knows beside its decisions: either alone picks badly. With
    few gold rows the metric moves in steps, and the log-loss alone favours models that are modest
    about every class but the commonest: on seven corpora with 20 to 1,100 labels their sum picked
    as well as either where either was good. Several labels and values have the metric alone.
    """
    if state.information is None:
        return state.metric
    return state.metric - NATS * float(surprise(dataset, state.outputs).mean())


def floor_of(
    dataset: Dataset, config: LearningConfig, own: RoundState, learned: dict[str, Tensor]
) -> tuple[RoundState, list[dict[str, Any]]]:
    """Returns the best round on gold alone, and one entry of each kind of model for people.

    Args:
        dataset: the data.
        config: the settings of the run.
        own: the warm start of the run's own student.
        learned: what that learned without labels; models on as many axes share them.
    """
    best = {OWN: _Judged(own, "as in the rounds", dataset)}
    axes: dict[int, dict[str, Tensor]] = {}
    if config.model.kind in ON_AXES:
        axes[config.model.components] = learned
    views: dict[int, Dataset] = {}
    plainly = replace(dataset, seen=None)  # others may see it on more axes
    looked = plainly.at(dataset.gold) if len(dataset.present) > MANY_ROWS else plainly
    for plain in plain_models(config):
        about = replace(config, model=replace(config.model, **plain.model))
        if plain.imbalance is not None:
            about = replace(about, train=replace(about.train, imbalance=plain.imbalance))
        student, width = STUDENTS[about.model.kind], about.model.components
        if width not in axes:
            axes[width] = student.start(plainly, about)
        if width not in views:
            views[width] = student.view(looked, axes[width])
        seen = views[width]
        ensemble = student.fit(seen, targets_of(seen, None, None), about, axes[width])
        state = judged(replace(seen, pool=seen.pool[:0]), ensemble, about)
        found = _Judged(state, plain.strength, seen, about, axes[width])
        if plain.name not in best or found.standing > best[plain.name].standing:
            best[plain.name] = found
    least = best[OWN].standing + LUCK / len(dataset.gold) ** 0.5
    rival = max(best.keys() - {OWN}, key=lambda name: best[name].standing)
    winner = rival if best[rival].standing > least else OWN
    table = [
        {"model": name, "strength": each.strength, "metric": each.state.metric,
         "se": each.state.se, "standing": each.standing, "starts": name == winner}
        for name, each in best.items()
    ]  # fmt: skip
    return (own if winner == OWN else best[winner].whole(dataset, winner)), table


@dataclass
class _Judged:
    """A model on gold alone, judged; values of the pool's rows are asked of the winner only."""

    state: RoundState
    strength: str
    seen: Dataset  # as the model sees it
    config: LearningConfig | None = None
    learned: dict[str, Tensor] = field(default_factory=dict)

    @cached_property
    def standing(self) -> float:
        """See the function."""
        return standing(self.seen, self.state)

    def whole(self, dataset: Dataset, name: str) -> RoundState:
        """Returns the round with all its outputs, its models for values of full width."""
        if self.config is None or self.state.ensemble is None:
            raise RuntimeError("the run's own student is whole already")
        student = STUDENTS[self.config.model.kind]
        ensemble = student.whole(self.state.ensemble, dataset, self.learned)
        if len(self.seen.present) < len(dataset.present):  # gold alone was looked at
            state = judged(replace(dataset, seen=None), ensemble, self.config)
        else:
            state = judged(self.seen, self.state.ensemble, self.config)
        state.ensemble = ensemble
        state.verdict = f"warm start on gold only: {name} ({self.strength})"
        return state
