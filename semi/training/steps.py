"""The steps of a fit: what each one shows all members, and what it teaches each of them.

Letters: G chains, E members, S configs trained side by side, B rows of a batch, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
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


class Steps:
    """The steps of a fit as one function of the step's number, which lies on the device.

    What changes from step to step is a table with a row for each, made once: a step uploads nothing
    and asks nothing, so that it can be a CUDA graph.
    """

    def __init__(self, plan: FitPlan, generator: torch.Generator) -> None:
        self.plan, self.generator = plan, generator
        targets, whole = plan.targets, plan.config
        config, contrast, count = whole.train[0], whole.contrast, whole.train[0].steps
        device, chains = targets.present.device, len(targets.target)
        self.corrupt = {m: Corruption(whole.noise, device=device) for m in targets.values}
        self.rows = draws(targets, config, generator, whole.task)  # (steps, B)
        drawn = self.rows.shape[1]
        self.size = drawn // 2 if len(targets.pseudo) else drawn
        self.factor, self.adjust = correction(targets, config, whole.task)
        smooth = torch.tensor([c.label_smoothing for c in whole.train], device=device)
        self.smooth = smooth.repeat_interleave(chains // len(smooth))[:, None, None]  # (G, 1, 1)
        fall = contrast.weight_end - contrast.weight
        shares = [contrast.weight + fall * step / count for step in range(count)]
        shares = shares if whole.classify else [1.0] * count
        self.contrasts = [share > 0 for share in shares]
        self.shares = self.adjust.new_tensor(shares)
        rise = max(1.0, PSEUDO_RAMP * count)
        ramps = [min(1.0, (step + 1) / rise) for step in range(count)]
        self.ramps = torch.tensor(ramps, dtype=torch.float64, device=device)

    def batch(self, at: Tensor, contrasting: bool) -> tuple[Batch, MemberRows]:
        """Returns the batch of a step and what its rows (E, B, ...) teach.

        Args:
            at: (1,) int64 number of the step.
            contrasting: one of `contrasts`, which the host must know.
        """
        plan, whole = self.plan, self.plan.config
        rows, share, ramp = (t.index_select(0, at)[0] for t in (self.rows, self.shares, self.ramps))
        seen = noisy_batch(
            plan.targets, rows, self.corrupt, whole.noise, self.generator, plan.twins
        )
        known, drawn = _drawn(plan, rows, self.size, self.factor, ramp, seen)
        if whole.noise.mixup_alpha > 0 and whole.classify:
            drawn = mixed(drawn, whole.noise.mixup_alpha, self.generator)
        batch = Batch(drawn.inputs, seen[1], share, self.adjust, contrasting, plan.twins)
        by_class = whole.classify and whole.contrast.intra + whole.contrast.inter > 0
        spread = 2 if whole.task.multi else plan.targets.target.shape[2]
        taught = MemberRows(
            target=drawn.target * (1 - self.smooth) + self.smooth / spread,
            weight=drawn.weight,
            known=known,
            affect=drawn.affect,
            gold=given_labels(known, self.size) if by_class else None,
            negative=drawn.negative,
        )
        repeat = plan.members // len(plan.targets.target)
        return batch, taught.each(lambda t: t.repeat_interleave(repeat, 0))


def _drawn(
    plan: FitPlan, rows: Tensor, size: int, factor: Tensor, ramp: Tensor,
    seen: tuple[dict[str, Tensor], Tensor],
) -> tuple[Tensor, StepRows]:  # fmt: skip
    """Returns the class (G, B) that each chain knows of a row, -1 = none, and the rows of a step.

    Args:
        plan: what the steps have in common.
        rows: (B,) rows of the table.
        size: how many of them are gold; they come first.
        factor: (N,) loss factor of each row.
        ramp: () of the pseudo-labels.
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
