"""The loss of one member on one batch; written for one model, run for all by vmap.

The contrastive terms compare rows with rows and read no parameter: they are taken of all members'
projections at once, behind the vmap.

Letters: B rows of a batch, C classes, M modalities. The batch is given twice, clean and noisy, in
one forward pass of 2B rows; once where nothing is learned from noisy rows. No boolean indexing and
no host reads in here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from models.fusion import ContrastConfig, FusionOutput, group_means
from models.fusion.contrastive import paired_terms, pairs_of
from models.fusion.supervised import supervised_terms
from models.losses.distillation import kl, mse_on_logits
from models.losses.regression import ccc_mse

from ..config.task import TaskConfig, TaughtTask
from ..config.training import TrainConfig
from .losses import LOSSES, LossContext, binary_cross_entropy, negative_learning

NO_CONTEXT = LossContext(torch.zeros(0))  # of losses that know nothing beside the batch


@dataclass
class Batch:
    """One step's rows, shared by all members."""

    inputs: dict[str, Tensor]  # modality -> (2B, D_m), clean rows then their noisy twins
    present: Tensor  # (2B, M) bool; without twins B rows, here and in `inputs`
    contrast: Tensor  # () weight of the contrastive terms at this step
    adjust: Tensor  # (C,) added to the logits (logit adjustment), zeros otherwise
    contrasting: bool = True  # False leaves the contrastive terms out
    twins: bool = True  # False: there are no noisy rows

    def both(self, x: Tensor) -> Tensor:
        """Returns what is known of the B rows for every row of `inputs`."""
        return torch.cat([x, x]) if self.twins else x


class MemberRows(NamedTuple):
    """What one member is taught about the B rows of a batch; None where the task has none of it.

    Stacked to (E, B, ...) for all members.
    """

    target: Tensor  # (B, C) soft targets of the member's fold
    weight: Tensor  # (B,) row weights of its fold; 0 = not a training row of it
    known: Tensor  # (B,) int64 class it may use to tell false negatives, -1 = unknown
    affect: Tensor | None = None  # (B, 2) scaled valence and arousal, NaN = unknown
    gold: Tensor | None = None  # (B,) int64 given class of its fold's own rows, -1 elsewhere
    negative: Tensor | None = None  # (B, C) weights of the classes that a row surely is not

    def each(self, change: Callable[[Tensor], Any]) -> MemberRows:
        """Returns every field changed; what is None stays so."""
        return MemberRows._make(None if field is None else change(field) for field in self)


@dataclass
class ObjectiveConfig:
    """What the classification and regression losses are; the same at every step."""

    train: TrainConfig
    context: LossContext
    task: TaskConfig = field(default_factory=TaskConfig)
    classify: bool = True  # False: contrastive pre-training, no labels are looked at


class Objective(nn.Module):
    """Holds the model so that one functional call sees its parameters in every term."""

    def __init__(self, model: nn.Module, contrast: ContrastConfig, config: ObjectiveConfig) -> None:
        super().__init__()
        self.model = model
        self.contrast = contrast
        self.config = config

    def forward(
        self, batch: Batch, taught: MemberRows
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """Returns the scalar loss, its parts by name, and what `with_contrast` adds to it compares.

        Args:
            batch: the rows, which all members share.
            taught: what this member is taught about them.
        """
        out = self.model(batch.inputs, batch.present)
        parts: dict[str, Tensor] = {}
        loss = out.logits.new_zeros(())
        rows = self._rows(taught.weight, batch) if self.config.classify else None
        if rows is not None and self.config.task.classes_weight > 0:
            loss, parts = self._classification(out, batch, taught.target, rows)
        if taught.negative is not None:
            weights = self._rows(taught.negative, batch)  # (2B, C)
            parts["negative"] = negative_learning(out.logits + batch.adjust, weights)
            loss = loss + parts["negative"]
        if taught.affect is not None and rows is not None:
            parts["affect"] = self._affect(out, batch, taught.affect, taught.weight)
            loss = loss + self.config.task.affect_weight * parts["affect"]
        auxiliary = getattr(self.model, "auxiliary", None)
        if auxiliary is not None:
            for name, value in auxiliary(out, batch.inputs, batch.present, rows).items():
                parts[f"aux/{name}"] = value
                loss = loss + value
        if taught.gold is not None:
            for name, value in self._by_class(out, batch, taught.gold, taught.weight).items():
                parts[f"contrast/{name}"] = value
                loss = loss + getattr(self.contrast, name) * value
        return loss, parts, out.projections if self._contrasts(batch) else {}

    def with_contrast(
        self, loss: Tensor, parts: dict[str, Tensor], projections: dict[str, Tensor],
        batch: Batch, known: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:  # fmt: skip
        """Returns the whole loss and its parts, of one member () or of all of them (E,).

        Rows known to share a class are no negatives.

        Args:
            loss: () or (E,), and so each of `parts`.
            parts: by name.
            projections: of the 2B rows, (E,) in front where there are several members.
            batch: the rows.
            known: (B,) or (E, B); see `MemberRows`.
        """
        if not projections:
            return loss, {"loss": loss, **parts}
        half = len(batch.present) // 2
        clean, noisy = (
            {
                k: v if k == "log_scale" else v.narrow(loss.dim(), at, half)
                for k, v in projections.items()
            }
            for at in (0, half)
        )
        here = batch.present[:half] & batch.present[half:]
        names = list(batch.inputs)
        same = (known[..., :, None] == known[..., None, :]) & (known >= 0)[..., None]
        pairs = pairs_of(names, clean, noisy, here, self.contrast)
        terms = paired_terms(pairs, projections["log_scale"], self.contrast, same)
        parts = parts | {f"contrast/{k}": v for k, v in terms.items()}
        if terms:
            loss = loss + batch.contrast * torch.stack(list(group_means(terms).values())).sum(0)
        return loss, {"loss": loss, **parts}

    def _contrasts(self, batch: Batch) -> bool:
        return self.contrast.any and batch.contrasting and batch.twins

    def _rows(self, weight: Tensor, batch: Batch) -> Tensor:
        """Returns the weights (2B, ...) of the clean and the noisy rows, from (B, ...)."""
        if not batch.twins:
            return weight
        share = self.config.train.noisy_share
        return torch.cat([(1 - share) * weight, share * weight])

    def _classification(self, out, batch, target, rows):
        """Loss of the fused head and of each modality's head, clean and noisy rows."""
        both = batch.both(target)  # (2B, C)
        config, context = self.config, self.config.context
        measure = binary_cross_entropy if config.task.multi else LOSSES[config.train.loss]
        scale, head_weight = config.task.classes_weight, config.train.head_weight

        def cost(logits: Tensor, here: Tensor) -> Tensor:
            if not isinstance(config.task, TaughtTask):
                return measure(logits + batch.adjust, both, here, context)
            given, taught = _halves(here, 2 if batch.twins else 1)
            given_loss = measure(logits + batch.adjust, both, given, context)
            return given_loss + teacher_loss(logits, both, taught, config.task)

        fused = cost(out.logits, rows)
        parts, loss = {"fused": fused}, fused
        if head_weight > 0 and len(out.modality_logits) > 1:
            for i, (name, logits) in enumerate(out.modality_logits.items()):
                here = rows * batch.present[:, i]
                parts[name] = cost(logits, here)
                loss = loss + head_weight * parts[name]
        return (loss if scale == 1 else scale * loss), parts

    def _affect(self, out: FusionOutput, batch: Batch, target: Tensor, weight: Tensor) -> Tensor:
        """1 - CCC + MSE of valence and arousal, clean and noisy views apart: CCC is of a batch."""
        if out.affect is None:
            raise ValueError("the model has no head for valence and arousal: set model.affect")
        share, half = self.config.train.noisy_share, len(target)
        mse = self.config.task.mse_weight
        clean = ccc_mse(out.affect[:half], target, weight, mse_weight=mse)
        if not batch.twins:
            return clean
        noisy = ccc_mse(out.affect[half:], target, weight, mse_weight=mse)
        return (1 - share) * clean + share * noisy

    def _by_class(self, out, batch, gold: Tensor, weight: Tensor) -> dict[str, Tensor]:
        """Supervised contrast of the clean rows, within and between modalities."""
        half = len(gold)
        terms = supervised_terms(
            out.rows(0, half), gold, batch.present[:half], (weight > 0).to(weight.dtype),
            tau=self.contrast.tau,
        )  # fmt: skip
        return {k: v for k, v in terms.items() if getattr(self.contrast, k) > 0}


def _halves(rows: Tensor, views: int = 2) -> tuple[Tensor, Tensor]:
    """Returns the weights (2B,) of given labels, and those of a teacher's: half of each view."""
    halves = rows.view(views, 2, -1)
    nothing = torch.zeros_like(halves[:, 0])
    given = torch.stack([halves[:, 0], nothing], 1).flatten()
    return given, torch.stack([nothing, halves[:, 1]], 1).flatten()


def teacher_loss(logits: Tensor, target: Tensor, rows: Tensor, task: TaughtTask) -> Tensor:
    """Returns the weighted sum of T^2 KL(teacher at T || student at T), or of squared logit gaps.

    `target` (2B, C) is the teacher's flattened probability, or its logits where `match` is mse.
    """
    if task.match == "mse":
        return mse_on_logits(logits, target, rows) * rows.sum()
    t = task.temperature
    if task.multi:
        return t**2 * binary_cross_entropy(logits / t, target, rows, NO_CONTEXT)
    teacher = t * target.clamp(min=1e-12).log()  # whose softmax at T is `target` again
    return kl(logits, teacher, rows, temperature=t) * rows.sum()
