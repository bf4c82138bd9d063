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

if TYPE_CHECKING:
    from .schema import Config

C = TypeVar("C", bound=LearningConfig)
R = TypeVar("R", bound="Config")
AUTO: dict[str, Any] = {
    "model.kind": "contrastive_residual",
    "model.hidden": 48,
    "model.projection": 32,
    "model.dropout": 0.0,
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
student begins at that solution; its contrastive steps stay where gold knows more by them.
"""
SETTLED = ("kind", "linear", "components", "quiet")
"""Settings of section model that are decided later, by semi.self_training.model_selection."""


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
    kind = config.task.kind
    if kind != "single":
        return config, (
            f"{sizes}: task.kind {kind} is not yet in the benchmark that recipes come from, so all "
            "settings stay as they are"
        )
    chosen, plain, kept = copy.deepcopy(config), LearningConfig(), []
    for key, value in of_student(config).items():
        section, name = _at(chosen, key)
        mine, usual = getattr(section, name), getattr(_at(plain, key)[0], name)
        if mine == usual and key not in config.given:
            setattr(section, name, value)
        elif mine != value:
            kept.append(f"{key}={mine}")
    sentence = (
        f"{sizes}: the contrastive student, each round from Gaussian classes of one covariance "
        "that labels and pool teach together, not below logistic regression and linear "
        "discriminants on labels alone "
        f"({', '.join(f'{k}={v}' for k, v in AUTO.items())})"
    )
    return chosen, sentence + (f"; kept as given: {', '.join(kept)}" if kept else "")


def of_student(config: LearningConfig) -> dict[str, Any]:
    """Returns the settings of AUTO that suit the student: another kind has steps of its own."""
    if _is_ours(config):
        return AUTO
    own = ("model.hidden", "model.projection", "model.dropout", "train.")
    return {key: value for key, value in AUTO.items() if not key.startswith(own)}


def with_open_layers(config: R) -> R:
    """Returns the settings by which every layer of the speech encoder is a view of its own.

    Only where the layers are still to be chosen by gold: see semi.self_training.view_selection. One
    pass of the encoder gives all of them. Other settings come back as they are.
    """
    speech = config.encoders.speech
    chosen = config.recipe != "none" and config.task.kind == "single" and _is_ours(config)
    layered = speech.model not in BUILT_IN["speech"] and speech.pooling != "frames"
    if not chosen or not layered or speech.layers is not None or config.model.quiet:
        return config
    if speech.combine not in ("mean", "joined"):
        return config
    encoders = replace(config.encoders, speech=replace(speech, combine="views"))
    return replace(config, encoders=encoders)


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
