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
from noise import NoiseConfig

from ..config.task import TaskConfig
from ..config.training import TrainConfig
from .affect_scale import affect_scale, unscale_affect
from .batches import TrainingTargets
from .ensemble import Ensemble
from .losses import LossContext
from .objective import Batch, MemberRows, Objective, ObjectiveConfig
from .optim import MemberAdamW, clip_members, keep_heap, learning_rate
from .steps import Teaching, steps

OnStep = Callable[[int, dict[str, float]], None]
Probe = Callable[[dict[str, Tensor]], dict[str, float]]
LOG_EVERY = 25
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
    config, task = alike(configs, targets), task or TaskConfig()
    device, chains = targets.present.device, len(targets.target)
    params = {k: v.detach().clone().requires_grad_() for k, v in ensemble.params.items()}
    counts = targets.target[-1, targets.gold].sum(0)
    context = LossContext(counts, config.focal_gamma, config.ldam_margin)
    aims = ObjectiveConfig(config, context, task, classify)
    model = ensemble.template.train()
    objective = Objective(model, contrast, aims)
    optimizer = MemberAdamW(list(params.values()), configs)
    if device.type == "cpu":
        keep_heap()
    scale = None
    if targets.affect is not None:
        scale = affect_scale(targets.affect[:, targets.gold], targets.weight[:, targets.gold])
    twins = needs_twins(aims, contrast, model)
    teaching = Teaching(
        targets, configs, noise, contrast, task, ensemble.count, classify, twins, scale
    )

    def member(p, b, batch, taught):
        state = {f"model.{k}": v for k, v in p.items()} | {f"model.{k}": v for k, v in b.items()}
        return functional_call(objective, state, (batch, taught))

    generator = torch.Generator(device=device).manual_seed(seed)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)  # dropout draws from the global generator under vmap
        for step, (batch, taught) in enumerate(steps(teaching, generator)):
            run = over_members(member, len(configs), taught)
            loss, parts = run(params, ensemble.buffers, batch, taught)
            optimizer.zero_grad()
            loss.sum().backward()
            if config.clip > 0:
                clip_members([p.grad for p in params.values() if p.grad is not None], config.clip)
            optimizer.step(step, config.steps)
            if on_step is not None and (step % LOG_EVERY == 0 or step == config.steps - 1):
                values = {k: float(v.detach().mean()) for k, v in parts.items()}
                values |= probe({k: v.detach() for k, v in params.items()}) if probe else {}
                on_step(step, {"lr": learning_rate(step, config.steps, config)} | values)
    done = {k: v.detach() for k, v in params.items()}
    if scale is not None:
        done = unscale_affect(done, scale, ensemble.count // chains)
    return Ensemble(ensemble.config, ensemble.dims, ensemble.classes, done, ensemble.buffers)


def over_members(member: Callable, parts: int, taught: MemberRows) -> Callable:
    """Returns `member` as a function of stacked members (E, ...), its third argument shared.

    Dropout differs from member to member but not from part to part: a part comes out as it would
    alone. `taught` says what rows teach: what is None there is not stacked.
    """
    where = (0, 0, None, taught.each(lambda _: 0))
    run = vmap(member, in_dims=where, randomness="different")
    if parts == 1:
        return run
    every = vmap(run, in_dims=where, randomness="same")

    def split(x: Tensor) -> Tensor:
        return x.unflatten(0, (parts, -1))

    def together(
        params: dict[str, Tensor], buffers: dict[str, Tensor], batch: Batch, taught: MemberRows
    ) -> tuple[Tensor, dict[str, Tensor]]:
        loss, by_name = every(
            {k: split(v) for k, v in params.items()}, {k: split(v) for k, v in buffers.items()},
            batch, taught.each(split),
        )  # fmt: skip
        return loss.flatten(), {k: v.flatten(0, 1) for k, v in by_name.items()}

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
