"""The settings that a run reads: what trackers show beside its scores.

Most settings belong to one rule, one kind of model or one encoder; a table of them all hides in
what two runs differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from models.fusion.config import CLOSED_FORM, ON_AXES
from pseudo_label import RULES

from .schema import Config, signature

STEPPED = ("steps", "batch", "lr", "weight_decay", "warmup", "clip", "label_smoothing", "loss",
           "head_weight", "noisy_share")  # fmt: skip
KINDS_THAT_READ = {
    "depth": ("-", *ON_AXES),
    "hidden": ("-", *CLOSED_FORM),
    "dropout": ("-", *CLOSED_FORM),
    "projection": ("contrastive", "contrastive_residual"),
    "layers": ("cross_attention", "misa", "mlp_mixer"),
    "heads": ("cross_attention", "misa"),
    "rank": ("low_rank",),
    "top": ("topn_attention",),
    "auxiliary_weight": ("private_shared", "misa"),
    "components": ON_AXES,
    "quiet": ON_AXES,
    "linear": ("contrastive_residual",),
}
"""Setting of `model` -> the kinds of model that read it; after "-" those that do not."""
WITHOUT_ROUNDS = ("max_rounds", "metric", "floor")  # settings of `rounds` that round 0 reads


def settings_read(config: Config) -> dict[str, Any]:
    """Returns dotted key -> value of the settings that a run of this configuration reads.

    Left out is what belongs to another rule, model or encoder, and what is not set.
    """
    unread = set(_unread(config))

    def is_read(key: str) -> bool:
        parts = key.split(".")
        return not any(".".join(parts[:k]) in unread for k in range(1, len(parts) + 1))

    unset = (None, "", [], {})
    return {k: v for k, v in signature(config).items() if v not in unset and is_read(k)}


def _unread(config: Config) -> Iterator[str]:
    """Yields the keys, of settings or whole sections, that nothing reads."""
    yield from _of_model(config)
    yield from _of_rules(config)
    for name, encoder in (("speech", config.encoders.speech), ("text", config.encoders.text)):
        if encoder.model == "none":
            yield from (f"encoders.{name}.{key}" for key in vars(encoder) if key != "model")
    if config.encoders.speech.pruning.method == "none":
        yield "encoders.speech.pruning"
    if config.features.standardize != "speaker":
        yield "features.speaker_shrink"
    if not config.encoders.keeps_frames:
        yield "features.max_frames"
    if not config.distill.final:
        yield from (f"distill.{key}" for key in vars(config.distill) if key != "final")
    if config.task.kind in ("single", "multi_label"):
        yield from ("task.class_weight", "task.affect_weight")


def _of_model(config: Config) -> Iterator[str]:
    kind, linear = config.model.kind, config.model.kind
    if kind == "contrastive_residual":
        linear = config.model.linear
    for name, kinds in KINDS_THAT_READ.items():
        if (kind in kinds) == (kinds[0] == "-"):
            yield f"model.{name}"
    if linear != "discriminant":
        yield from ("model.shrinkage", "model.pull")
    if linear != "logistic":
        yield "model.penalty"
    if not (config.task.affect and kind in CLOSED_FORM):
        yield "model.widen"
    if kind in CLOSED_FORM:
        yield from (f"train.{name}" for name in STEPPED)
        yield "noise"
    contrasts = kind in ("contrastive", "contrastive_residual")
    for name in vars(config.contrast):
        if name == "axes" and kind in ON_AXES:
            continue
        if not contrasts or name == "axes" or (name.startswith("pretrain") and kind in ON_AXES):
            yield f"contrast.{name}"
    if config.train.imbalance == "none":
        yield "train.imbalance_power"


def _of_rules(config: Config) -> Iterator[str]:
    select = config.select
    if not config.rounds.max_rounds:
        yield "select"
        yield from (f"rounds.{key}" for key in vars(config.rounds) if key not in WITHOUT_ROUNDS)
    yield from (f"select.{name}" for name in RULES if name not in (select.rule, "agreement"))
    if select.rule != "threshold":
        yield "select.per_class"
    if select.rule != "agreement" and select.agreement.mode == "off":
        yield "select.agreement"
    if select.precision_target is None:
        yield from ("select.alpha", "select.bound")
    if select.targets != "sharpened":
        yield "select.temperature"
