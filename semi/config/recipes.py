"""`recipe: auto`: the settings of learning that the benchmark found best, chosen by the labels.

The evidence is benchmarks/results/selftraining/; docstrings of the constants name what was learned.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from models.encoders.names import BUILT_IN
from models.fusion.config import ON_AXES

from ..data.wording import counted
from .learning import LearningConfig
from .training import RoundsConfig

if TYPE_CHECKING:
    from .schema import Config

C = TypeVar("C", bound=LearningConfig)
R = TypeVar("R", bound="Config")
AUTO: dict[str, Any] = {
    "model.kind": "contrastive_residual",
    "model.hidden": 48,
    "model.projection": 32,
    "model.dropout": 0.0,
    "model.pull": 2.0,
    "train.members": 1,
    "train.steps": 12,
    "train.batch": 32,
    "train.weight_decay": 0.01,
    "train.label_smoothing": 0.0,
    "vote.calibration": "temperature",
    "select.rule": "soft_allocation",
    "select.soft_allocation.temperature": 0.7,
    "select.prior": "em",
    "select.temporal": 0.0,
    "rounds.max_rounds": 8,
    "rounds.min_change": 0.0,
    "rounds.floor": True,
}
"""Expectation-maximisation of Gaussian classes, one gated round an iteration.

The shared covariance is learned from the whole pool: what varies within a class is not emotion.
Forty labels cannot tell that to any classifier that learns from labelled rows alone. Each round's
student begins at that solution; its contrastive steps stay where gold knows more by them. Pulled
class means (`model.pull`) are worth 2 to 4 points to the start with 20 to 100 labels of five
corpora (draws 7 and 8), and to what ships no less than they cost.
"""
_LINEAR: dict[str, Any] = {
    "model.kind": "discriminant",
    "train.members": 1,
    "vote.calibration": "temperature",
    "rounds.floor": True,
}
_SEVERAL = _LINEAR | {"rounds.max_rounds": 0, "rounds.min_change": 0.0}
RECIPES: dict[str, dict[str, Any]] = {
    "single": AUTO,
    "multi_label": _SEVERAL,
    "affect": {
        "model.kind": "ridge",
        "model.components": 200,
        "train.members": 1,
        "rounds.max_rounds": 0,
        "rounds.floor": True,
        "distill.final": True,
    },
    "joint": _LINEAR | {k: v for k, v in AUTO.items() if k.startswith(("select.", "rounds."))},
    "joint_multi_label": _SEVERAL,
}
"""The recipe by kind of task; the evidence of all but single is benchmarks/results/affect.txt.

Labelled and unlabelled rows teach the axes together; of valence and arousal and of several labels
the rest is learned from labels alone. Rounds cost 0.5 points of CCC there; of macro-F1 they gave
0.7 on some draws of labels and took 0.2 on others: there are none unless they are asked for.
"""
_VALUES = {"train.batch": 128}
_SETS = {"data.ties": "votes", "select.rule": "threshold"}
_FOR_AFFECT = {"train.imbalance": "none", "rounds.metric": "ccc", "select.rule": "spread"}
NEEDED: dict[str, dict[str, Any]] = {
    "single": {},
    "multi_label": _SETS,
    "affect": _FOR_AFFECT | _VALUES,
    "joint": _VALUES,
    "joint_multi_label": _SETS | _VALUES,
}
"""What a task cannot do without, whatever the student, by kind of task."""
WORDS = {
    "single": "the contrastive student, each round from Gaussian classes of one covariance that "
    "labels and pool teach together, not below logistic regression and linear discriminants on "
    "labels alone",
    "multi_label": "two Gaussian classes of one covariance for each label, not below logistic "
    "regression and linear discriminants of each label on labels alone",
    "affect": "ridge regression on axes that labels and pool teach together, its strength and "
    "spread by gold out-of-fold, not below plain ridge regression",
    "joint": "Gaussian classes of one covariance that labels and pool teach together, and ridge "
    "regression of valence and arousal, not below logistic regression and linear discriminants on "
    "labels alone",
}
WORDS["joint_multi_label"] = f"{WORDS['multi_label']}, and ridge regression of valence and arousal"
SETTLED = ("model.kind", "model.linear", "model.components", "model.quiet", "contrast.axes")
"""Settings that gold decides when a run begins; see semi.self_training.settling."""


def resolved(config: C, gold: int, pool: int) -> tuple[C, str]:
    """Returns the settings with the recipe's in place, and a sentence that says what and why.

    A setting that is not at its default, or that was given as what it is by default, is the user's
    and stays. `recipe: none` changes nothing.

    Args:
        config: the settings.
        gold: labelled training rows.
        pool: unlabelled rows.
    """
    if config.recipe == "none":
        return config, ""
    sizes = f"recipe auto, {gold} labelled and {counted(pool, 'unlabelled row')}"
    kind, chosen, kept = config.task.kind, copy.deepcopy(suited(config)), []
    recipe = {k: v for k, v in of_student(config).items() if hasattr(config, k.partition(".")[0])}
    for key, value in recipe.items():
        section, name = _at(config, key)
        mine = getattr(section, name)
        if mine == getattr(type(section)(), name) and key not in config.given:
            setattr(_at(chosen, key)[0], name, value)
        elif mine != value:
            kept.append(f"{key}={mine}")
    sentence = f"{sizes}: {WORDS[kind]} ({', '.join(f'{k}={v}' for k, v in recipe.items())})"
    return chosen, sentence + (f"; kept as given: {', '.join(kept)}" if kept else "")


def suited(config: C) -> C:
    """Returns the settings with what the task cannot do without, where nothing else was set."""
    changed = suiting(vars(config) | {"": config}, config.given)
    return replace(config, **changed) if changed else config


def suiting(sections: dict[str, Any], given: list[str]) -> dict[str, Any]:
    """Returns by name the sections that the task needs otherwise, with what it needs in place.

    Args:
        sections: name -> section, '' -> the whole; any may be missing.
        given: keys that the user set, which stay.
    """
    task, whole = sections.get("task"), sections.get("")
    if task is None or (whole is not None and whole.recipe == "none"):
        return {}
    changed: dict[str, Any] = {}
    for key, value in NEEDED[task.kind].items():
        name, _, word = key.partition(".")
        section = changed.get(name, sections.get(name))
        if section is None or key in given:
            continue
        if getattr(section, word) == getattr(type(section)(), word):
            changed[name] = replace(section, **{word: value})
    return changed


def of_student(config: LearningConfig) -> dict[str, Any]:
    """Returns the recipe's settings that suit the student: another kind has steps of its own."""
    recipe = RECIPES[config.task.kind]
    if config.task.kind == "affect" and _asks_for_rounds(config):  # they go by several members
        recipe = {key: value for key, value in recipe.items() if key != "train.members"}
    if _is_ours(config):
        return recipe
    own = (
        "model.hidden",
        "model.projection",
        "model.dropout",
        "model.components",
        "train.",
        "distill.",
    )
    return {key: value for key, value in recipe.items() if not key.startswith(own)}


def with_open_layers(config: R) -> R:
    """Returns the settings by which every layer of the speech encoder is a view of its own.

    Only where the layers are still to be chosen by gold: see semi.self_training.view_selection. One
    pass of the encoder gives all of them. Other settings come back as they are.
    """
    speech = config.encoders.speech
    chosen = config.recipe != "none" and _is_ours(config)
    layered = speech.model not in BUILT_IN["speech"] and speech.pooling != "frames"
    if not chosen or not layered or speech.layers is not None or config.model.quiet:
        return config
    if speech.combine not in ("mean", "joined"):
        return config
    encoders = replace(config.encoders, speech=replace(speech, combine="views"))
    return replace(config, encoders=encoders)


def _asks_for_rounds(config: LearningConfig) -> bool:
    """Says whether the user set a number of rounds above 0."""
    rounds, usual = config.rounds.max_rounds, RoundsConfig().max_rounds
    return rounds > 0 and (rounds != usual or "rounds.max_rounds" in config.given)


def _is_ours(config: LearningConfig) -> bool:
    """Says whether the student is the recipe's or one like it, and not a kind named by the user."""
    if config.model.kind in ON_AXES:
        return True
    return config.model.kind == LearningConfig().model.kind and "model.kind" not in config.given


def _at(config: Any, key: str) -> tuple[Any, str]:
    """Returns the section that holds a dotted key, and the key's last word."""
    *path, name = key.split(".")
    for word in path:
        config = getattr(config, word)
    return config, name
