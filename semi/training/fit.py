"""`fit`: (folds + 1) x members trained at once, in one visible loop, on tensors kept on the device.

Letters: G chains (one per fold, and a last one that holds nothing out), E = G x members, N rows,
B rows of a batch, C classes. Fold membership and pseudo-label weights are one matrix W (G, N).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from models.fusion import ContrastConfig

from ..config.task import TaskConfig
from ..config.training import TrainConfig
from ..features.tensors import Vectors
from .affect_scale import affect_scale, unscale_affect
from .ensemble import Ensemble, seed_global
from .graphed_step import GraphedStep
from .losses import LossContext
from .objective import Batch, MemberRows, Objective, ObjectiveConfig
from .optim import MemberAdamW, keep_heap, learning_rate
from .steps import FitConfig, FitPlan, Steps
from .targets import TrainingTargets
from .training_step import TrainingStep

OnStep = Callable[[int, dict[str, float]], None]
Probe = Callable[[dict[str, Tensor]], dict[str, float]]
Stop = Callable[[int, dict[str, Tensor]], bool]  # (steps done, stacked parameters)
LOG_EVERY = 25
OWN_SETTINGS = ("lr", "warmup", "weight_decay", "label_smoothing")  # may differ from part to part


def fit(
    ensemble: Ensemble,
    targets: TrainingTargets,
    config: FitConfig,
    *,
    seed: int,
    on_step: OnStep | None = None,
    probe: Probe | None = None,
    stop: Stop | None = None,
) -> Ensemble:
    """Returns the ensemble trained on the targets; the one given is left as it was.

    Member e belongs to chain e // (E / G). At every logged step `on_step` gets the losses and what
    `probe` says of the stacked parameters; `stop`, asked after every step, may end the training.
    Several `config.train` train as many equal parts of the chains, in their order; they may differ
    in what OWN_SETTINGS names.
    """
    first, chains = alike(config.train, targets), len(targets.target)
    device = targets.present.device
    if device.type == "cpu":
        keep_heap()
    generator = torch.Generator(device=device).manual_seed(seed)
    plain = training_step(ensemble, targets, config, generator)
    do = GraphedStep(plain, generator) if device.type == "cuda" else plain
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        seed_global(seed, device)  # dropout draws from the global generator under vmap
        for step, contrasting in enumerate(plain.steps.contrasts):
            parts, now = do(contrasting), plain.now()
            last = (stop is not None and stop(step + 1, now)) or step == first.steps - 1
            if on_step is not None and (step % LOG_EVERY == 0 or last):
                values = means(parts) | (probe(now) if probe else {})
                on_step(step, {"lr": learning_rate(step, first.steps, first)} | values)
            if last:
                break
    done, scale = plain.now(), plain.steps.plan.scale
    if scale is not None:
        done = unscale_affect(done, scale, ensemble.count // chains)
    return Ensemble(ensemble.config, ensemble.dims, ensemble.classes, done, ensemble.buffers)


def training_step(
    ensemble: Ensemble, targets: TrainingTargets, config: FitConfig, generator: torch.Generator
) -> TrainingStep:
    """Returns the step of a fit, before the first; the ensemble is copied. See `fit`."""
    fixed = {k for k, p in ensemble.template.named_parameters() if not p.requires_grad}
    params = {
        k: v.detach().clone().requires_grad_(k not in fixed) for k, v in ensemble.params.items()
    }
    objective, plan = prepared(ensemble, targets, config)
    return TrainingStep(
        Steps(plan, generator), over_members(objective, len(config.train)), params,
        ensemble.buffers, MemberAdamW(list(params.values()), config.train), config.train[0].clip,
        torch.zeros(1, dtype=torch.int64, device=targets.present.device),
    )  # fmt: skip


def means(parts: dict[str, Tensor]) -> dict[str, float]:
    """Returns the mean over the members of each part of the loss; the host waits once for all."""
    each = torch.stack([value.detach().mean() for value in parts.values()]).tolist()
    return dict(zip(parts, each, strict=True))


def prepared(
    ensemble: Ensemble, targets: TrainingTargets, config: FitConfig
) -> tuple[Objective, FitPlan]:
    """Returns the loss of one member, and what all steps have in common."""
    train, scale = config.train[0], None
    counts = targets.target[-1, targets.gold].sum(0)
    context = LossContext(counts, train.focal_gamma, train.ldam_margin)
    objective_config = ObjectiveConfig(train, context, config.task, config.classify)
    model = ensemble.template.train()
    if targets.affect is not None:
        scale = affect_scale(targets.affect[:, targets.gold], targets.weight[:, targets.gold])
    twins = needs_twins(objective_config, config.contrast, model)
    objective = Objective(model, config.contrast, objective_config)
    return objective, FitPlan(targets, config, ensemble.count, twins, scale)


def over_members(objective: Objective, parts: int) -> Callable:
    """Returns the loss as a function of stacked members (E, ...), whose third argument is shared.

    Dropout differs from member to member but not from part to part: a part comes out as it would
    alone.
    """

    def member(p: dict, b: dict, batch: Batch, taught: MemberRows) -> tuple[Tensor, dict, dict]:
        state = {f"model.{k}": v for k, v in p.items()} | {f"model.{k}": v for k, v in b.items()}
        return functional_call(objective, state, (batch, taught))

    def split(x: Tensor) -> Tensor:
        return x.unflatten(0, (parts, -1))

    def together(
        params: dict[str, Tensor], buffers: dict[str, Tensor], batch: Batch, taught: MemberRows
    ) -> tuple[Tensor, dict[str, Tensor]]:
        objective.train()  # who asked the members between two steps has set them to eval()
        where = (0, 0, None, taught.each(lambda _: 0))  # what is None in `taught` is not stacked
        run = vmap(member, in_dims=where, randomness="different")
        if parts == 1:
            loss, by_name, projections = run(params, buffers, batch, taught)
        else:
            loss, by_name, projections = vmap(run, in_dims=where, randomness="same")(
                {k: split(v) for k, v in params.items()},
                {k: split(v) for k, v in buffers.items()}, batch, taught.each(split),
            )  # fmt: skip
            loss = loss.flatten()
            by_name, projections = (
                {k: v.flatten(0, 1) for k, v in values.items()} for values in (by_name, projections)
            )
        return objective.with_contrast(loss, by_name, projections, batch, taught.known)

    return together


def alike(configs: Sequence[TrainConfig], targets: TrainingTargets) -> TrainConfig:
    """Returns the first of the configs; ValueError where they cannot be trained at once."""
    first, chains = configs[0], len(targets.target)
    own = {name: getattr(first, name) for name in OWN_SETTINGS}
    if chains % len(configs):
        raise ValueError(f"{len(configs)} configs need as many equal parts of {chains} chains")
    if any(replace(c, **own) != first for c in configs):
        raise ValueError(f"configs trained at once may differ in {', '.join(OWN_SETTINGS)} alone")
    return first


def needs_twins(objective_config: ObjectiveConfig, contrast: ContrastConfig, model: Any) -> bool:
    """Says whether anything is learned from the noisy views; where not, none are made."""
    weighs = not objective_config.classify or contrast.weight > 0 or contrast.weight_end > 0
    contrasts = contrast.any and weighs and model.contrasts
    return objective_config.train.noisy_share > 0 or contrasts


def pretrain(
    ensemble: Ensemble,
    targets: TrainingTargets,
    config: FitConfig,
    *,
    seed: int,
    on_step: OnStep | None = None,
    probe: Probe | None = None,
) -> Ensemble:
    """Returns the members after label-free contrastive learning on the rows of `without_labels`."""
    contrast = config.contrast
    plain = replace(
        config.train[0],
        steps=contrast.pretrain_steps,
        batch=contrast.pretrain_batch,
        imbalance="none",
    )
    config = replace(config, train=[plain], task=TaskConfig(), classify=False)
    return fit(ensemble, targets, config, seed=seed, on_step=on_step, probe=probe)


def without_labels(
    values: Mapping[str, Vectors], present: Tensor, rows: Tensor, classes: int
) -> TrainingTargets:
    """Returns targets that say nothing, on `rows` (n,) of the table: what `pretrain` learns from.

    Args:
        values: modality -> (N, D) features.
        present: (N, M) bool.
        rows: (n,) int64 of the rows drawn.
        classes: C of the model.
    """
    n, device = len(present), present.device
    return TrainingTargets(
        values,
        present,
        target=torch.zeros(1, n, classes, device=device),
        weight=torch.zeros(1, n, device=device),
        gold=rows,
        pseudo=rows[:0],
    )
