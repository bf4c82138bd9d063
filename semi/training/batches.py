"""The batches of `fit`: which rows a step sees, how much each counts, and what noise does to them.

Letters: G chains, N rows of the table, n gold rows, B rows of a batch, M modalities, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from noise import Corruption, NoiseConfig, draw_mix, modality_dropout

from ..config.task import TaskConfig
from ..config.training import TrainConfig
from .imbalance import class_balance, gold_shares
from .targets import TrainingTargets


def draws(
    targets: TrainingTargets, config: TrainConfig, generator: torch.Generator, task: TaskConfig
) -> Tensor:
    """Returns (steps, B) row indices: gold rows, then as many pseudo-labelled rows if any."""
    gold, pseudo = targets.gold, targets.pseudo
    # the concordance of few rows is biased, so affect is learned from whole batches
    size = config.batch if task.affect else min(config.batch, max(2 * len(gold), 8))
    every = gold_shares(targets, task)
    chance = torch.ones(len(gold), device=gold.device)
    if config.imbalance == "oversample":
        chance = class_balance(every, config.imbalance_power)
    pick = torch.multinomial(chance, config.steps * size, replacement=True, generator=generator)
    rows = gold[pick].view(config.steps, size)
    if len(pseudo):
        pick = torch.randint(
            len(pseudo), (config.steps * size,), generator=generator, device=gold.device
        )
        rows = torch.cat([rows, pseudo[pick].view(config.steps, size)], 1)
    return rows


def row_weights(
    targets: TrainingTargets, rows: Tensor, size: int, factor: Tensor, ramp: Tensor
) -> Tensor:
    """Returns (G, B) weights whose sum is the mean gold loss plus the scaled pseudo-label loss.

    Gold rows average to one. A pseudo row counts |pseudo| / gold mass / its batch share, so that
    the expected loss is (sum over gold + sum of weighted pseudo rows) / gold mass of the chain.
    """
    weight = targets.weight[:, rows]  # (G, B)
    gold = weight[:, :size] * factor[rows[:size]]
    gold = gold / gold.sum(1, keepdim=True).clamp(min=1e-6)
    if weight.shape[1] == size:
        return gold
    scale = pseudo_scale(targets, weight.shape[1] - size, ramp)
    return torch.cat([gold, weight[:, size:] * scale], 1)


def pseudo_scale(targets: TrainingTargets, drawn: int, ramp: Tensor) -> Tensor:
    """Returns (G, 1): what a drawn pseudo row's weight counts in the loss of a step."""
    mass = targets.weight[:, targets.gold].sum(1, keepdim=True).clamp(min=1e-6)
    return mass.reciprocal() * (ramp * len(targets.pseudo)) / drawn


def noisy_view(x: Tensor, corrupt: Corruption, generator: torch.Generator) -> Tensor:
    """Returns the noisy twin of `x`; where a sequence has no frame (NaN) it still has none."""
    noisy = corrupt(x, generator=generator)
    return torch.where(x.isnan(), x, noisy) if x.dim() == 3 else noisy


def noisy_batch(
    targets: TrainingTargets,
    rows: Tensor,
    corrupt: dict[str, Corruption],
    noise: NoiseConfig,
    generator: torch.Generator,
    twins: bool = True,
) -> tuple[dict[str, Tensor], Tensor]:
    """Returns the batch's clean rows followed by their noisy twins, if any, and who is present."""
    present = targets.present[rows]
    if not twins:
        return {name: every[rows] for name, every in targets.values.items()}, present
    inputs = {}
    for name, all_rows in targets.values.items():
        x = all_rows[rows]
        inputs[name] = torch.cat([x, noisy_view(x, corrupt[name], generator)])
    dropped = modality_dropout(present, noise.modality_dropout, generator=generator)
    return inputs, torch.cat([present, dropped])


@dataclass
class StepRows:
    """The rows of one step as one chain after the other sees them."""

    inputs: dict[str, Tensor]  # modality -> (2B, D_m), or (B, D_m) without noisy twins
    present: Tensor  # (2B, M)
    target: Tensor  # (G, B, C)
    weight: Tensor  # (G, B)
    affect: Tensor | None  # (G, B, 2)
    negative: Tensor | None = None  # (G, B, C)


def mixed(step: StepRows, alpha: float, generator: torch.Generator) -> StepRows:
    """Returns the step with every row blended with a partner, features and targets alike.

    Only rows that have the same modalities are blended. A row whose partner is no training row of
    a chain (a held-out label) leaves the loss of that chain.
    """
    rows = step.target.shape[1]
    mix = draw_mix(rows, alpha, generator, step.present.device)
    here = step.present[:rows]  # of the clean rows: nothing is hidden there
    alike = (here == here[mix.partner]).all(1)
    mix.share = torch.where(alike, mix.share, 1.0)
    inputs = {m: torch.cat([mix(v) for v in x.split(rows)]) for m, x in step.inputs.items()}
    share = mix.share[:, None]

    def blend(x: Tensor) -> Tensor:
        other = torch.where(share < 1, x[:, mix.partner], 0.0)  # an unknown (NaN) stays there
        return share * x + (1 - share) * other

    alone = mix.share == 1
    weight = step.weight * ((step.weight[:, mix.partner] > 0) | alone)
    affect = None if step.affect is None else blend(step.affect)
    negative = None if step.negative is None else blend(step.negative)
    return StepRows(inputs, step.present, blend(step.target), weight, affect, negative)


def given_labels(known: Tensor, size: int) -> Tensor:
    """Returns the labels (G, B) of the first `size` rows of a step, the gold ones; -1 elsewhere."""
    gold = torch.arange(known.shape[1], device=known.device) < size
    return torch.where(gold, known, -1)


def sure(known: Tensor, target: Tensor, task: TaskConfig) -> Tensor:
    """Returns the class of rows with one label only; affect alone knows no classes."""
    alone = (target.sum(-1) - 1).abs() < 1e-3
    return torch.where(alone & task.multi, known, -1)
