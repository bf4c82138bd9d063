"""`fit`: (folds + 1) x members trained at once, in one visible loop, on tensors kept on the device.

Letters: G chains (one per fold, and a last one that holds nothing out), E = G x members, N rows,
B rows of a batch, C classes. Fold membership and pseudo-label weights are one matrix W (G, N).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from models.fusion import ContrastConfig
from noise import Corruption, NoiseConfig

from ..config.task import TaskConfig
from ..config.training import TrainConfig
from .affect_scale import affect_scale, unscale_affect
from .batches import (
    StepRows,
    TrainingTargets,
    correction,
    draws,
    given_labels,
    mixed,
    noisy_batch,
    pseudo_scale,
    row_weights,
    sure,
)
from .ensemble import Ensemble
from .losses import LossContext
from .objective import Batch, Objective, ObjectiveConfig
from .optim import MemberAdamW, clip_members, keep_heap, learning_rate

OnStep = Callable[[int, dict[str, float]], None]
Probe = Callable[[dict[str, Tensor]], dict[str, float]]
LOG_EVERY = 25
PSEUDO_RAMP = 0.4  # pseudo-labels reach full weight after this share of the steps
OWN = ("lr", "warmup", "weight_decay", "label_smoothing")  # may differ from part to part


def fit(
    ensemble: Ensemble,
    targets: TrainingTargets,
    config: TrainConfig | Sequence[TrainConfig],
    noise: NoiseConfig,
    contrast: ContrastConfig,
    *,
    seed: int,
    on_step: OnStep | None = None,
    probe: Probe | None = None,
    classify: bool = True,
    task: TaskConfig | None = None,
) -> Ensemble:
    """Returns the ensemble trained on the targets; the one given is left as it was.

    Member e belongs to chain e // (E / G). At every logged step `on_step` gets the losses and what
    `probe` says of the stacked parameters. Without `classify` only the contrastive terms are
    learned and no label is read (see `pretrain`). Several configs train as many equal parts of the
    chains, in their order; they may differ in what OWN names.
    """
    configs = [config] if isinstance(config, TrainConfig) else list(config)
    config = alike(configs, targets)
    device = targets.present.device
    steps = config.steps
    generator = torch.Generator(device=device).manual_seed(seed)
    params = {k: v.detach().clone().requires_grad_() for k, v in ensemble.params.items()}
    task = task or TaskConfig()
    counts = targets.target[-1, targets.gold].sum(0)
    context = LossContext(counts, config.focal_gamma, config.ldam_margin)
    aims = ObjectiveConfig(config, context, task, classify)
    model = ensemble.template.train()
    twins = needs_twins(aims, contrast, model)
    objective = Objective(model, contrast, aims)
    corrupt = {m: Corruption(noise, device=device) for m in targets.values}
    optimizer = MemberAdamW(list(params.values()), configs)
    if device.type == "cpu":
        keep_heap()
    chains, classes = targets.target.shape[0], targets.target.shape[2]
    repeat = ensemble.count // chains
    rows = draws(targets, config, generator, task)  # (steps, B)
    size = rows.shape[1] // 2 if len(targets.pseudo) else rows.shape[1]
    factor, adjust = correction(targets, config, task)
    smooth = torch.tensor([c.label_smoothing for c in configs], device=device)
    smooth = smooth.repeat_interleave(chains // len(configs))[:, None, None]  # (G, 1, 1)
    spread = 2 if task.multi else classes
    by_class = classify and contrast.intra + contrast.inter > 0
    scale = None
    if targets.affect is not None:
        scale = affect_scale(targets.affect[:, targets.gold], targets.weight[:, targets.gold])

    def member(p, b, batch, target, weight, known, extra):
        state = {f"model.{k}": v for k, v in p.items()} | {f"model.{k}": v for k, v in b.items()}
        return functional_call(objective, state, (batch, target, weight, known, extra))

    run = over_members(member, len(configs))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)  # dropout draws from the global generator under vmap
        for step in range(steps):
            at = rows[step]
            inputs, present = noisy_batch(targets, at, corrupt, noise, generator, twins)
            ramp = min(1.0, (step + 1) / max(1.0, PSEUDO_RAMP * steps))
            weight = row_weights(targets, at, size, factor, ramp)
            target = targets.target[:, at]
            known = torch.where(targets.weight[:, at] > 0, target.argmax(-1), -1)
            if task.kind != "single":
                known = known if task.kind == "joint" else sure(known, target, task)
            affect = None
            if targets.affect is not None and scale is not None:
                affect = (targets.affect[:, at] - scale.mean) / scale.std
            negative = None
            if targets.negative is not None:
                scale_now = pseudo_scale(targets, len(at) - size, ramp)
                negative = targets.negative[:, at] * scale_now[..., None]
            if noise.mixup_alpha > 0 and classify:
                step_rows = StepRows(inputs, present, target, weight, affect, negative)
                step_rows = mixed(step_rows, noise.mixup_alpha, generator)
                inputs, target, affect = step_rows.inputs, step_rows.target, step_rows.affect
                weight, negative = step_rows.weight, step_rows.negative
            extra = {} if affect is None else {"affect": affect}
            if negative is not None:
                extra["negative"] = negative
            target = target * (1 - smooth) + smooth / spread
            if by_class:
                extra["gold"] = given_labels(known, size)
            share = contrast.weight + (contrast.weight_end - contrast.weight) * step / steps
            share = share if classify else 1.0
            contrasted = adjust.new_tensor(share)
            batch = Batch(inputs, present, contrasted, adjust, share > 0, size, ramp, twins)
            each = [t.repeat_interleave(repeat, 0) for t in (target, weight, known)]
            extra = {k: t.repeat_interleave(repeat, 0) for k, t in extra.items()}
            loss, parts = run(params, ensemble.buffers, batch, *each, extra)
            optimizer.zero_grad()
            loss.sum().backward()
            if config.clip > 0:
                clip_members([p.grad for p in params.values() if p.grad is not None], config.clip)
            optimizer.step(step, steps)
            if on_step is not None and (step % LOG_EVERY == 0 or step == steps - 1):
                seen = {k: float(v.detach().mean()) for k, v in parts.items()}
                seen |= probe({k: v.detach() for k, v in params.items()}) if probe else {}
                on_step(step, {"lr": learning_rate(step, steps, config)} | seen)
    done = {k: v.detach() for k, v in params.items()}
    if scale is not None:
        done = unscale_affect(done, scale, repeat)
    return Ensemble(ensemble.config, ensemble.dims, ensemble.classes, done, ensemble.buffers)


def over_members(member: Callable, parts: int) -> Callable:
    """Returns `member` as a function of stacked members (E, ...), its third argument shared.

    Dropout differs from member to member but not from part to part: a part comes out as it would
    alone.
    """
    where = (0, 0, None, 0, 0, 0, 0)
    run = vmap(member, in_dims=where, randomness="different")
    if parts == 1:
        return run
    every = vmap(run, in_dims=where, randomness="same")

    def split(x: Any) -> Any:
        if isinstance(x, dict):
            return {k: v.unflatten(0, (parts, -1)) for k, v in x.items()}
        return x.unflatten(0, (parts, -1)) if isinstance(x, Tensor) else x

    def together(*given: Any) -> tuple[Tensor, dict[str, Tensor]]:
        loss, parts_by_name = every(*(split(x) for x in given))
        return loss.flatten(), {k: v.flatten(0, 1) for k, v in parts_by_name.items()}

    return together


def alike(configs: Sequence[TrainConfig], targets: TrainingTargets) -> TrainConfig:
    """Returns the first of the configs; ValueError where they cannot be trained at once."""
    first, chains = configs[0], len(targets.target)
    own = {name: getattr(first, name) for name in OWN}
    if chains % len(configs):
        raise ValueError(f"{len(configs)} configs need as many equal parts of {chains} chains")
    if any(replace(c, **own) != first for c in configs):
        raise ValueError(f"configs trained at once may differ in {', '.join(OWN)} alone")
    return first


def needs_twins(aims: ObjectiveConfig, contrast: ContrastConfig, model: Any) -> bool:
    """Says whether anything is learned from the noisy views; where not, none are made."""
    weighs = not aims.classify or contrast.weight > 0 or contrast.weight_end > 0
    contrasts = contrast.any and weighs and model.contrasts
    return aims.train.noisy_share > 0 or contrasts


def pretrain(
    ensemble: Ensemble,
    values: dict[str, Tensor],
    present: Tensor,
    rows: Tensor,
    config: TrainConfig,
    noise: NoiseConfig,
    contrast: ContrastConfig,
    *,
    seed: int,
    on_step: OnStep | None = None,
    probe: Probe | None = None,
) -> Ensemble:
    """Returns the members after label-free contrastive learning on `rows` (n,) of the table."""
    n = len(present)
    targets = TrainingTargets(
        values,
        present,
        target=torch.zeros(1, n, ensemble.classes, device=present.device),
        weight=torch.zeros(1, n, device=present.device),
        gold=rows,
        pseudo=rows[:0],
    )
    plain = replace(
        config,
        steps=contrast.pretrain_steps,
        batch=contrast.pretrain_batch,
        imbalance="none",
    )
    return fit(
        ensemble,
        targets,
        plain,
        noise,
        contrast,
        seed=seed,
        on_step=on_step,
        probe=probe,
        classify=False,
    )
