"""Training speed as ratios: one fold-epoch beside a plain loop; K x M at once beside in turn.

usage: python benchmarks/training.py [--rows 4024] [--dims 1024,768,5120] [--batch 32]
                                     [--folds 5] [--members 3] [--steps 0] [--repeats 3]

Made-up features: this measures speed, never quality. Three programs train the same architecture
with the same losses (classification of the clean and noisy view, contrastive pairs):

  plain    DataLoader over a TensorDataset, one nn.Module, AdamW, .item() of the loss at every step:
           the way such loops are usually written
  in turn  semi.training.fit with one member at a time
  at once  semi.training.fit with all K x M members as one batched program

Runs alternate; the figures are the medians of `repeats` CPU- and wall-seconds, and their ratios.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from torch.utils.data import DataLoader, TensorDataset

from models.fusion import ContrastConfig, FusionConfig, build_fusion
from noise import Corruption, NoiseConfig, modality_dropout
from semi.config.training import TrainConfig
from semi.training.ensemble import Ensemble
from semi.training.fit import fit
from semi.training.losses import LossContext
from semi.training.objective import Batch, MemberRows, Objective, ObjectiveConfig
from semi.training.steps import FitConfig
from semi.training.targets import TrainingTargets

CLASSES = 6


def made_up(rows: int, dims: list[int], chains: int) -> TrainingTargets:
    """Returns random features and labels; every chain learns from all rows."""
    generator = torch.Generator().manual_seed(0)
    values = {f"m{i}": torch.randn(rows, d, generator=generator) for i, d in enumerate(dims)}
    label = torch.randint(CLASSES, (rows,), generator=generator)
    target = torch.nn.functional.one_hot(label, CLASSES).float()
    every = torch.arange(rows)
    return TrainingTargets(
        values,
        torch.ones(rows, len(dims), dtype=torch.bool),
        target.expand(chains, -1, -1),
        torch.ones(chains, rows),
        every,
        every[:0],
    )


def plain(
    targets: TrainingTargets, config: TrainConfig, model: FusionConfig, contrast: ContrastConfig
):
    """Trains one module the usual way for `config.steps` batches."""
    torch.manual_seed(0)
    dims = {m: v.shape[1] for m, v in targets.values.items()}
    module = build_fusion(model, dims, CLASSES).train()
    context = LossContext(targets.target[0].sum(0), config.focal_gamma, config.ldam_margin)
    objective = Objective(module, contrast, ObjectiveConfig(config, context))
    corrupt = {m: Corruption(NoiseConfig()) for m in dims}
    data = TensorDataset(*targets.values.values(), targets.target[0])
    optimizer = torch.optim.AdamW(module.parameters(), lr=config.lr, weight_decay=0.05)
    adjust = torch.zeros(CLASSES)
    done, losses = 0, []
    while done < config.steps:
        for *x, target in DataLoader(data, batch_size=config.batch, shuffle=True):
            inputs = {m: torch.cat([v, corrupt[m](v)]) for m, v in zip(dims, x, strict=True)}
            present = torch.ones(len(target), len(dims), dtype=torch.bool)
            both = torch.cat([present, modality_dropout(present, 0.2)])
            weight = torch.full((len(target),), 1 / len(target))
            known = target.argmax(1)
            batch = Batch(inputs, both, torch.tensor(contrast.weight), adjust)
            smooth = target * 0.95 + 0.05 / CLASSES
            loss, parts, projections = objective(batch, MemberRows(smooth, weight, known))
            loss, _ = objective.with_contrast(loss, parts, projections, batch, known)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), config.clip)
            optimizer.step()
            losses.append(loss.item())
            done += 1
            if done == config.steps:
                break


def ours(targets: TrainingTargets, config: TrainConfig, model, contrast, members: int) -> None:
    """Trains `members` members at once with semi.training.fit."""
    dims = {m: v.shape[1] for m, v in targets.values.items()}
    start = Ensemble.create(model, dims, CLASSES, count=members, seed=0)
    fit(start, targets, FitConfig([config], NoiseConfig(), contrast), seed=0)


def measured(programs: dict, repeats: int) -> dict[str, tuple[float, float]]:
    """Returns median (CPU-seconds, wall-seconds) of each program; the runs alternate."""
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
    for _ in range(repeats):
        for name, run in programs.items():
            cpu, wall = time.process_time(), time.perf_counter()
            run()
            seen[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    return {
        name: (statistics.median(c for c, _ in s), statistics.median(w for _, w in s))
        for name, s in seen.items()
    }


def main() -> None:
    """Prints both comparisons."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=4024)
    parser.add_argument("--dims", default="1024,768,5120")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--steps", type=int, default=0, help="0 = one epoch")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    dims = [int(d) for d in args.dims.split(",")]
    steps = args.steps or args.rows // args.batch
    config = TrainConfig(steps=steps, batch=args.batch, imbalance="none")
    model, contrast = FusionConfig(hidden=args.hidden), ContrastConfig()
    many = args.folds * args.members
    one, all_ = made_up(args.rows, dims, 1), made_up(args.rows, dims, args.folds)
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads; {args.rows} rows x "
        f"{dims}, batch {args.batch}, hidden {args.hidden}, {steps} steps, random features"
    )

    def in_turn() -> None:
        for _ in range(many):
            ours(one, config, model, contrast, 1)

    found = measured(
        {
            "plain loop, one fold-epoch": lambda: plain(one, config, model, contrast),
            "fit, one fold-epoch": lambda: ours(one, config, model, contrast, 1),
            f"fit, {many} members in turn": in_turn,
            f"fit, {many} members at once": lambda: ours(all_, config, model, contrast, many),
        },
        args.repeats,
    )
    for name, (cpu, wall) in found.items():
        print(f"{name:32s} {cpu:8.2f} CPU-s {wall:8.2f} s")
    (p_cpu, p_wall), (f_cpu, f_wall), (t_cpu, t_wall), (a_cpu, a_wall) = found.values()
    for title, cpu, wall in (
        ("one fold-epoch, plain loop / fit", p_cpu / f_cpu, p_wall / f_wall),
        (f"{many} members, in turn / at once", t_cpu / a_cpu, t_wall / a_wall),
        (f"{many} members, plain loops / at once", many * p_cpu / a_cpu, many * p_wall / a_wall),
    ):
        print(f"{title:36s} {cpu:6.2f}x CPU {wall:6.2f}x wall")


if __name__ == "__main__":
    main()
