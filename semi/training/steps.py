"""The steps of a fit: what each one shows all members, and what it teaches each of them.

Letters: G chains, E members, S configs trained side by side, B rows of a batch, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from models.fusion import ContrastConfig
from noise import Corruption, NoiseConfig

from ..config.learning import LearningConfig
from ..config.task import TaskConfig
from ..config.training import TrainConfig
from .affect_scale import AffectScale
from .batches import (
    StepRows,
    draws,
    given_labels,
    mixed,
    noisy_batch,
    pseudo_scale,
    row_weights,
    sure,
)
from .imbalance import correction
from .objective import Batch, MemberRows
from .targets import TrainingTargets

PSEUDO_RAMP = 0.4  # pseudo-labels reach full weight after this share of the steps


@dataclass
class FitConfig:
    """The settings that one fit reads."""

    train: Sequence[TrainConfig]  # S of them; they differ in rates and smoothing alone
    noise: NoiseConfig
    contrast: ContrastConfig
    task: TaskConfig = field(default_factory=TaskConfig)
    classify: bool = True  # False: only the contrastive terms are learned and no label is read

    @classmethod
    def of(cls, config: LearningConfig, **changes: Any) -> FitConfig:
        """Returns what a fit reads of `config`, with `changes` of its fields."""
        read = {
            "train": [config.train],
            "noise": config.noise,
            "contrast": config.contrast,
            "task": config.task,
        }
        return cls(**(read | changes))


@dataclass
class FitPlan:
    """What the steps of one fit have in common."""

    targets: TrainingTargets
    config: FitConfig
    members: int  # E of all chains
    twins: bool  # rows come with their noisy views
    scale: AffectScale | None  # of valence and arousal


def steps(plan: FitPlan, generator: torch.Generator) -> Iterator[tuple[Batch, MemberRows]]:
    """Yields the batch of each step and what its rows (E, B, ...) teach."""
    targets, whole = plan.targets, plan.config
    config, noise, contrast = whole.train[0], whole.noise, whole.contrast
    device = targets.present.device
    chains, _, classes = targets.target.shape
    corrupt = {m: Corruption(noise, device=device) for m in targets.values}
    rows = draws(targets, config, generator, whole.task)  # (steps, B)
    size = rows.shape[1] // 2 if len(targets.pseudo) else rows.shape[1]
    factor, adjust = correction(targets, config, whole.task)
    smooth = torch.tensor([c.label_smoothing for c in whole.train], device=device)
    smooth = smooth.repeat_interleave(chains // len(smooth))[:, None, None]  # (G, 1, 1)
    spread = 2 if whole.task.multi else classes
    by_class = whole.classify and contrast.intra + contrast.inter > 0
    repeat = plan.members // chains
    fall = contrast.weight_end - contrast.weight
    shares = [contrast.weight + fall * step / config.steps for step in range(config.steps)]
    shares = shares if whole.classify else [1.0] * config.steps
    weights = adjust.new_tensor(shares)  # at once: each upload would wait for the device
    for step in range(config.steps):
        ramp = min(1.0, (step + 1) / max(1.0, PSEUDO_RAMP * config.steps))
        inputs, present = noisy_batch(targets, rows[step], corrupt, noise, generator, plan.twins)
        known, drawn = _drawn(plan, rows[step], size, factor, ramp, (inputs, present))
        if noise.mixup_alpha > 0 and whole.classify:
            drawn = mixed(drawn, noise.mixup_alpha, generator)
        batch = Batch(drawn.inputs, present, weights[step], adjust, shares[step] > 0, plan.twins)
        taught = MemberRows(
            target=drawn.target * (1 - smooth) + smooth / spread,
            weight=drawn.weight,
            known=known,
            affect=drawn.affect,
            gold=given_labels(known, size) if by_class else None,
            negative=drawn.negative,
        )
        yield batch, taught.each(lambda t: t.repeat_interleave(repeat, 0))


def _drawn(
    plan: FitPlan, rows: Tensor, size: int, factor: Tensor, ramp: float,
    seen: tuple[dict[str, Tensor], Tensor],
) -> tuple[Tensor, StepRows]:  # fmt: skip
    """Returns the class (G, B) that each chain knows of a row, -1 = none, and the rows of a step.

    Args:
        plan: what the steps have in common.
        rows: (B,) rows of the table.
        size: how many of them are gold; they come first.
        factor: (N,) loss factor of each row.
        ramp: of the pseudo-labels.
        seen: the inputs and who is present.
    """
    targets, task, scale = plan.targets, plan.config.task, plan.scale
    weight = row_weights(targets, rows, size, factor, ramp)
    target = targets.target[:, rows]
    known = torch.where(targets.weight[:, rows] > 0, target.argmax(-1), -1)
    if task.kind not in ("single", "joint"):
        known = sure(known, target, task)
    affect = negative = None
    if targets.affect is not None and scale is not None:
        affect = (targets.affect[:, rows] - scale.mean) / scale.std
    if targets.negative is not None:
        share = pseudo_scale(targets, len(rows) - size, ramp)
        negative = targets.negative[:, rows] * share[..., None]
    return known, StepRows(*seen, target, weight, affect, negative)
