"""Encoders with a class head each, and the loss that adapts them; one process's share of it.

Letters: B batch, W processes, C classes.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from models.encoders.layer_decay import layer_decay_groups
from models.encoders.pruning import PruningConfig, TokenPruner, keep_rate_at
from models.encoders.trainable import Trainable
from models.losses.contrastive import clip_loss
from models.losses.gather import gather_with_grad

from ...config.finetune import FinetuneConfig
from .data import NOTHING

PROJECTED = 128  # width of the space in which speech meets text


class Learner(nn.Module):
    """Encoders that learn, and their heads."""

    def __init__(
        self, encoders: dict[str, Trainable], classes: int, *, contrast: bool = False
    ) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(encoders)
        widths = {name: encoder.width for name, encoder in encoders.items()}
        self.heads = nn.ModuleDict(
            {m: nn.Sequential(nn.LayerNorm(w), nn.Linear(w, classes)) for m, w in widths.items()}
        )
        self.projections = nn.ModuleDict(
            {m: nn.Linear(w, PROJECTED) for m, w in widths.items()} if contrast else {}
        )

    def forward(
        self, inputs: dict[str, list], pruning: TokenPruner | None = None
    ) -> dict[str, tuple[Tensor, Tensor | None]]:
        """Returns each modality's logits (B, C) and, with contrast, its projection (B, P)."""
        out = {}
        for name, encoder in self.encoders.items():
            batch = [NOTHING[name] if item is None else item for item in inputs[name]]
            vectors = encoder(batch, pruning if name == "speech" else None).float()
            projected = self.projections[name](vectors) if self.projections else None
            out[name] = self.heads[name](vectors), projected
        return out


def objective(
    out: dict[str, tuple[Tensor, Tensor | None]],
    present: dict[str, Tensor],
    target: Tensor,
    label: Tensor,
    config: FinetuneConfig,
) -> Tensor:
    """Returns a loss whose gradient, averaged over the processes, is that of the whole batch.

    Args:
        out: what Learner gave for this process's rows.
        present: modality -> (B,) float, 1 where the row has it.
        target: (B, C) shares of the classes.
        label: (B,) class numbers; rows of one class are no negatives of each other.
        config: label_smoothing, contrast and tau.
    """
    world = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
    smooth = config.label_smoothing
    target = (1 - smooth) * target + smooth / target.shape[1]
    loss = target.new_zeros(())
    for name, (logits, _) in out.items():
        per_row = -(target * logits.float().log_softmax(-1)).sum(-1)  # (B,)
        counted = gather_with_grad(present[name]).sum().clamp(min=1)
        loss = loss + world * (per_row * present[name]).sum() / counted / len(out)
    if config.contrast:
        first, second = (
            gather_with_grad(projected.float())
            for _, projected in out.values()
            if projected is not None
        )
        both = [gather_with_grad(h) for h in present.values()]
        labels = gather_with_grad(label)
        same = (labels[:, None] == labels[None]) & (labels[:, None] >= 0)
        same = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        valid = (both[0] > 0) & (both[1] > 0)
        scale = -math.log(config.tau)
        loss = loss + config.contrast * clip_loss(first, second, scale, valid=valid, same=same)
    return loss


def make_optimizer(learner: Learner, config: FinetuneConfig) -> torch.optim.AdamW:
    """Returns AdamW with rates that fall by layer; each group remembers its peak as `peak`."""
    decay = {"decay": config.layer_decay, "weight_decay": config.weight_decay}
    groups: list[dict[str, Any]] = []
    encoders: Any = learner.encoders
    for encoder in encoders.values():
        layers = encoder.layers[: max(encoder.used)]
        groups += layer_decay_groups(encoder, layers, lr=config.lr, **decay)
    for module in (learner.heads, learner.projections):
        for matrix in (True, False):
            chosen = [p for p in module.parameters() if (p.ndim > 1) == matrix]
            weight = config.weight_decay if matrix else 0.0
            groups.append({"params": chosen, "lr": config.head_lr, "weight_decay": weight})
    groups = [{**g, "peak": g["lr"]} for g in groups if g["params"]]
    return torch.optim.AdamW(groups)


def rate_at(step: int, config: FinetuneConfig) -> float:
    """Returns the factor on every peak learning rate: linear warm-up, then cosine to zero."""
    rise = config.warmup * config.steps
    if step < rise:
        return (step + 1) / (rise + 1)
    t = (step - rise) / max(config.steps - rise, 1)
    return 0.5 * (1 + math.cos(math.pi * t))


def pruner_at(step: int, pruning: PruningConfig, depth: int, config: FinetuneConfig):
    """Returns the token pruner of a step, None while nothing is dropped."""
    if not pruning.active:
        return None
    start, end = (round(share * config.steps) for share in (config.prune_start, config.prune_end))
    rate = keep_rate_at(step, pruning.keep_rate, start=start, end=end)
    now = replace(pruning, keep_rate=rate)
    if pruning.schedule == "linear" and pruning.min_keep_rate is not None:
        now.min_keep_rate = keep_rate_at(step, pruning.min_keep_rate, start=start, end=end)
    return TokenPruner(now, depth) if now.active else None


@contextlib.contextmanager
def processes(device: torch.device) -> Iterator[tuple[int, int]]:
    """Joins the processes that torchrun started; gives this one's rank and how many there are."""
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if world == 1:
        yield 0, 1
        return
    ours = not dist.is_initialized()
    if ours:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield rank, world
    finally:
        if ours:
            dist.destroy_process_group()


def shared(learner: Learner, world: int, device: torch.device) -> nn.Module:
    """Returns the learner, its gradients averaged over the processes where there are several."""
    if world == 1:
        return learner
    from torch.nn.parallel import DistributedDataParallel

    return DistributedDataParallel(learner, [device] if device.type == "cuda" else None)


@torch.no_grad()
def class_shares(
    learner: Learner, inputs: dict[str, list], pruning: TokenPruner | None
) -> np.ndarray:
    """Returns (B, C): the mean of the heads' probabilities over the modalities a row has."""
    learner.eval()
    out = learner(inputs, pruning)
    total: Any = 0.0
    for name, (logits, _) in out.items():
        here = np.array([[item is not None] for item in inputs[name]], float)
        total = total + here * logits.float().softmax(-1).cpu().numpy()
    return total / np.maximum(total.sum(1, keepdims=True), 1e-9)
