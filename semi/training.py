"""`fit`: (folds + 1) x members trained at once, in one visible loop, on tensors kept on the device.

Letters: G chains (one per fold, and a last one that holds nothing out), E = G x members, N rows,
B rows of a batch, C classes. Fold membership and pseudo-label weights are one matrix W (G, N).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from models.fusion import ContrastConfig
from noise import Corruption, NoiseConfig, draw_mix, modality_dropout

from .affect_scale import affect_scale, unscale_affect
from .ensemble import Ensemble
from .learning_losses import Stakes
from .objective import Aims, Batch, Objective
from .task_config import TaskConfig
from .training_config import TrainConfig

OnStep = Callable[[int, dict[str, float]], None]
Probe = Callable[[dict[str, Tensor]], dict[str, float]]
LOG_EVERY = 25
PSEUDO_RAMP = 0.4  # pseudo-labels reach full weight after this share of the steps


@dataclass
class Lessons:
    """What one fit learns from; everything lies on one device."""

    values: dict[str, Tensor]  # modality -> (N, D_m), standardised
    present: Tensor  # (N, M) bool
    target: Tensor  # (G, N, C) rows sum to 1 where weight > 0; 0 and 1 for several labels a row
    weight: Tensor  # (G, N) 0 = not a training row of this chain
    gold: Tensor  # (n,) int64 rows with given labels
    pseudo: Tensor  # (p,) int64 rows that at least one chain pseudo-labelled; may be empty
    affect: Tensor | None = None  # (G, N, 2) valence and arousal to learn, NaN = unknown


def class_balance(target: Tensor, power: float) -> Tensor:
    """Returns (n,) row factors n_class**-power with mean 1, from (n, C) soft targets."""
    count = target.sum(0).clamp(min=1e-6)
    factor = (target * count**-power).sum(1)
    return factor / factor.mean()


def _gold_shares(lessons: Lessons, task: TaskConfig) -> Tensor:
    """Returns (n, C) class shares of the gold rows; the last chain holds none of them out."""
    every = lessons.target[-1, lessons.gold]
    return every / every.sum(1, keepdim=True).clamp(min=1e-6) if task.multi else every


def _draws(
    lessons: Lessons, config: TrainConfig, generator: torch.Generator, task: TaskConfig
) -> Tensor:
    """Returns (steps, B) row indices: gold rows, then as many pseudo-labelled rows if any."""
    gold, pseudo = lessons.gold, lessons.pseudo
    # the concordance of few rows is biased, so affect is learned from whole batches
    size = config.batch if task.affect else min(config.batch, max(2 * len(gold), 8))
    every = _gold_shares(lessons, task)
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


def _row_weights(lessons: Lessons, rows: Tensor, size: int, factor: Tensor, ramp: float) -> Tensor:
    """Returns (G, B) weights whose sum is the mean gold loss plus the scaled pseudo-label loss.

    Gold rows average to one. A pseudo row counts |pseudo| / gold mass / its batch share, so that
    the expected loss is (sum over gold + sum of weighted pseudo rows) / gold mass of the chain.
    """
    weight = lessons.weight[:, rows]  # (G, B)
    gold = weight[:, :size] * factor[rows[:size]]
    gold = gold / gold.sum(1, keepdim=True).clamp(min=1e-6)
    if weight.shape[1] == size:
        return gold
    mass = lessons.weight[:, lessons.gold].sum(1, keepdim=True).clamp(min=1e-6)  # (G, 1)
    scale = ramp * len(lessons.pseudo) / mass / (weight.shape[1] - size)
    return torch.cat([gold, weight[:, size:] * scale], 1)


def _correction(lessons: Lessons, config: TrainConfig, task: TaskConfig) -> tuple[Tensor, Tensor]:
    """Returns the (N,) loss factor of each row and the (C,) logit adjustment of the one choice."""
    factor = torch.ones_like(lessons.weight[0])
    every = _gold_shares(lessons, task)
    adjust = torch.zeros_like(every[:1].sum(0))
    if config.imbalance == "class_weight":
        factor[lessons.gold] = class_balance(every, config.imbalance_power)
    if config.imbalance == "logit_adjust":
        prior = (every.sum(0) + 1) / (every.sum() + every.shape[1])
        adjust = config.imbalance_power * prior.log()
    return factor, adjust


def _optimizer(params: dict[str, Tensor], config: TrainConfig) -> torch.optim.AdamW:
    matrices = [p for p in params.values() if p.dim() >= 3]
    rest = [p for p in params.values() if p.dim() < 3]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}]
    if rest:
        groups.append({"params": rest, "weight_decay": 0.0})
    return torch.optim.AdamW(groups, lr=config.lr, fused=True)


def learning_rate(step: int, steps: int, config: TrainConfig) -> float:
    """Returns the rate at `step`: linear warm-up, then a half cosine to zero."""
    warm = max(1, round(config.warmup * steps))
    if step < warm:
        return config.lr * (step + 1) / warm
    return config.lr * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def clip_members(grads: list[Tensor], limit: float) -> None:
    """Scales each member's gradient to a norm of at most `limit`, in place; members never mix."""
    norm = torch.stack([torch.linalg.vector_norm(g.flatten(1), dim=1) for g in grads]).norm(dim=0)
    scale = (limit / (norm + 1e-6)).clamp(max=1.0)  # (E,)
    for g in grads:
        g.mul_(scale.view(-1, *[1] * (g.dim() - 1)))


def noisy_view(x: Tensor, corrupt: Corruption, generator: torch.Generator) -> Tensor:
    """Returns the noisy twin of `x`; where a sequence has no frame (NaN) it still has none."""
    noisy = corrupt(x, generator=generator)
    return torch.where(x.isnan(), x, noisy) if x.dim() == 3 else noisy


def noisy_batch(
    lessons: Lessons,
    rows: Tensor,
    corrupt: dict[str, Corruption],
    noise: NoiseConfig,
    generator: torch.Generator,
) -> tuple[dict[str, Tensor], Tensor]:
    """Returns the batch's clean rows followed by their noisy twins, and who is present."""
    present = lessons.present[rows]
    inputs = {}
    for name, all_rows in lessons.values.items():
        x = all_rows[rows]
        inputs[name] = torch.cat([x, noisy_view(x, corrupt[name], generator)])
    dropped = modality_dropout(present, noise.modality_dropout, generator=generator)
    return inputs, torch.cat([present, dropped])


@dataclass
class Step:
    """The rows of one step as one chain after the other sees them."""

    inputs: dict[str, Tensor]  # modality -> (2B, D_m)
    present: Tensor  # (2B, M)
    target: Tensor  # (G, B, C)
    weight: Tensor  # (G, B)
    affect: Tensor | None  # (G, B, 2)


def mixed(step: Step, alpha: float, generator: torch.Generator) -> Step:
    """Returns the step with every row blended with a partner, features and targets alike.

    Only rows that have the same modalities are blended. A row whose partner is no training row of
    a chain (a held-out label) leaves the loss of that chain.
    """
    rows = step.target.shape[1]
    mix = draw_mix(rows, alpha, generator, step.present.device)
    here = step.present[:rows]  # of the clean rows: nothing is hidden there
    alike = (here == here[mix.partner]).all(1)
    mix.share = torch.where(alike, mix.share, 1.0)
    inputs = {m: torch.cat([mix(x[:rows]), mix(x[rows:])]) for m, x in step.inputs.items()}
    share = mix.share[:, None]

    def blend(x: Tensor) -> Tensor:
        other = torch.where(share < 1, x[:, mix.partner], 0.0)  # an unknown (NaN) stays there
        return share * x + (1 - share) * other

    alone = mix.share == 1
    weight = step.weight * ((step.weight[:, mix.partner] > 0) | alone)
    affect = None if step.affect is None else blend(step.affect)
    return Step(inputs, step.present, blend(step.target), weight, affect)


def fit(
    ensemble: Ensemble,
    lessons: Lessons,
    config: TrainConfig,
    noise: NoiseConfig,
    contrast: ContrastConfig,
    *,
    seed: int,
    on_step: OnStep | None = None,
    probe: Probe | None = None,
    classify: bool = True,
    task: TaskConfig | None = None,
) -> Ensemble:
    """Returns the ensemble trained on the lessons; the one given is left as it was.

    Member e belongs to chain e // (E / G). At every logged step `on_step` gets the losses and what
    `probe` says of the stacked parameters. Without `classify` only the contrastive terms are
    learned and no label is read (see `pretrain`).
    """
    device = lessons.present.device
    steps = config.steps
    generator = torch.Generator(device=device).manual_seed(seed)
    params = {k: v.detach().clone().requires_grad_() for k, v in ensemble.params.items()}
    task = task or TaskConfig()
    counts = lessons.target[-1, lessons.gold].sum(0)
    stakes = Stakes(counts, config.focal_gamma, config.ldam_margin)
    objective = Objective(ensemble.template.train(), contrast, Aims(config, stakes, task, classify))
    corrupt = {m: Corruption(noise, device=device) for m in lessons.values}
    optimizer = _optimizer(params, config)
    chains, classes = lessons.target.shape[0], lessons.target.shape[2]
    repeat = ensemble.count // chains
    rows = _draws(lessons, config, generator, task)  # (steps, B)
    size = rows.shape[1] // 2 if len(lessons.pseudo) else rows.shape[1]
    factor, adjust = _correction(lessons, config, task)
    smooth, spread = config.label_smoothing, 2 if task.multi else classes
    by_class = classify and contrast.intra + contrast.inter > 0
    scale = None
    if lessons.affect is not None:
        scale = affect_scale(lessons.affect[:, lessons.gold], lessons.weight[:, lessons.gold])

    def member(p, b, batch, target, weight, known, extra):
        state = {f"model.{k}": v for k, v in p.items()} | {f"model.{k}": v for k, v in b.items()}
        return functional_call(objective, state, (batch, target, weight, known, extra))

    run = vmap(member, in_dims=(0, 0, None, 0, 0, 0, 0), randomness="different")
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)  # dropout draws from the global generator under vmap
        for step in range(steps):
            lr = learning_rate(step, steps, config)
            for group in optimizer.param_groups:
                group["lr"] = lr
            at = rows[step]
            inputs, present = noisy_batch(lessons, at, corrupt, noise, generator)
            ramp = min(1.0, (step + 1) / max(1.0, PSEUDO_RAMP * steps))
            weight = _row_weights(lessons, at, size, factor, ramp)
            target = lessons.target[:, at]
            known = torch.where(lessons.weight[:, at] > 0, target.argmax(-1), -1)
            if task.kind != "single":
                known = known if task.kind == "joint" else _sure(known, target, task)
            affect = None
            if lessons.affect is not None and scale is not None:
                affect = (lessons.affect[:, at] - scale.mean) / scale.std
            target = target * (1 - smooth) + smooth / spread
            if noise.mixup_alpha > 0 and classify:
                step_rows = Step(inputs, present, target, weight, affect)
                step_rows = mixed(step_rows, noise.mixup_alpha, generator)
                inputs, target, affect = step_rows.inputs, step_rows.target, step_rows.affect
                weight = step_rows.weight
            extra = {} if affect is None else {"affect": affect}
            if by_class:
                extra["gold"] = given_labels(known, size)
            share = contrast.weight + (contrast.weight_end - contrast.weight) * step / steps
            share = share if classify else 1.0
            batch = Batch(inputs, present, adjust.new_tensor(share), adjust, share > 0)
            each = [t.repeat_interleave(repeat, 0) for t in (target, weight, known)]
            extra = {k: t.repeat_interleave(repeat, 0) for k, t in extra.items()}
            loss, parts = run(params, ensemble.buffers, batch, *each, extra)
            optimizer.zero_grad(set_to_none=True)
            loss.sum().backward()
            if config.clip > 0:
                clip_members([p.grad for p in params.values() if p.grad is not None], config.clip)
            optimizer.step()
            if on_step is not None and (step % LOG_EVERY == 0 or step == steps - 1):
                seen = {k: float(v.detach().mean()) for k, v in parts.items()}
                seen |= probe({k: v.detach() for k, v in params.items()}) if probe else {}
                on_step(step, {"lr": lr} | seen)
    done = {k: v.detach() for k, v in params.items()}
    if scale is not None:
        done = unscale_affect(done, scale, repeat)
    return Ensemble(ensemble.config, ensemble.dims, ensemble.classes, done, ensemble.buffers)


def given_labels(known: Tensor, size: int) -> Tensor:
    """Returns the labels (G, B) of the first `size` rows of a step, the gold ones; -1 elsewhere."""
    gold = torch.arange(known.shape[1], device=known.device) < size
    return torch.where(gold, known, -1)


def _sure(known: Tensor, target: Tensor, task: TaskConfig) -> Tensor:
    """Returns the class of rows with one label only; affect alone knows no classes."""
    alone = (target.sum(-1) - 1).abs() < 1e-3
    return torch.where(alone & task.multi, known, -1)


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
    lessons = Lessons(
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
        lessons,
        plain,
        noise,
        contrast,
        seed=seed,
        on_step=on_step,
        probe=probe,
        classify=False,
    )
