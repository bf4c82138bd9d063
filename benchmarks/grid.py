"""The challenge baseline's grid of settings: CPU hours of a plain loop and of `fit`.

    python benchmarks/grid.py [--pca 256] [--together 8] [--steps-timed 40] [--repeats 3]
                              [--profile]

56 settings x 5 folds x 100 epochs on 5,030 x (1024, 768, 5120), batch 32, attention fusion of
width 128: projected from a few timed steps (CPU seconds of a long run less those of a short one,
each the least of the repeats; the programs take turns). Made-up features: speed, never quality.
All programs train the same model on the same loss, dropout included, without clipping:

  plain       one module after the other, AdamW as torch has it by default; and with fused=True
  folds       semi.training.fit, the folds of one setting as one program. Folds share their rows,
              a fifth of which each holds out: 40 are drawn, so that each learns from 32
  settings    the same, and so many settings at once, as `semi search` does with those that differ
              in rates, decay or smoothing (others are trained one by one, as in the line above)

Each on all columns and on the first components of every view, plain loops too, so that no ratio
mixes the two. Components are lossy: what varies little is gone. Without loss there is little to
gain here: 5,030 rows span 5,030 of the 5,120 columns.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from models.fusion import ContrastConfig, FusionConfig, build_fusion
from models.heads import Wide
from noise import NoiseConfig
from semi.config.training import TrainConfig
from semi.features.principal import principal
from semi.training.ensemble import Ensemble
from semi.training.fit import fit
from semi.training.steps import FitConfig
from semi.training.targets import TrainingTargets

CLASSES, ROWS, FOLDS, SETTINGS, EPOCHS = 6, 5030, 5, 56, 100
DIMS = {"speech": 1024, "text": 768, "video": 5120}
SHORT = 3  # steps of the run that is taken off: what is done once

Run = Callable[[int], None]  # takes the number of steps


def plain_loop(
    values: dict[str, Tensor], label: Tensor, config: FusionConfig, batch: int, fused: bool
) -> Run:
    """Returns the usual program: one module for each fold, one after the other."""
    dims = {m: v.shape[1] for m, v in values.items()}

    def run(steps: int) -> None:
        for _ in range(FOLDS):
            model = build_fusion(config, dims, CLASSES).train()
            for part in model.modules():
                if isinstance(part, Wide):
                    part.__class__ = nn.Linear
            optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=fused or None)
            present = torch.ones(batch, len(dims), dtype=torch.bool)
            for _ in range(steps):
                at = torch.randint(len(label), (batch,))
                out = model({m: v[at] for m, v in values.items()}, present)
                loss = nn.functional.cross_entropy(out.logits, label[at])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()

    return run


def stacked(
    values: dict[str, Tensor], label: Tensor, config: FusionConfig, batch: int, together: int
) -> Run:
    """Returns `fit` of the folds of `together` settings as one program."""
    dims, rows = {m: v.shape[1] for m, v in values.items()}, len(label)
    fold, index = torch.arange(rows) % FOLDS, torch.arange(rows)
    chains, drawn = FOLDS * together, math.ceil(batch * FOLDS / (FOLDS - 1))
    targets = TrainingTargets(
        values,
        torch.ones(rows, len(dims), dtype=torch.bool),
        nn.functional.one_hot(label, CLASSES).float().expand(chains, -1, -1),
        torch.stack([(fold != k % FOLDS).float() for k in range(chains)]),
        index,
        index[:0],
    )
    start = Ensemble.create(config, dims, CLASSES, count=chains, seed=0)
    off = ContrastConfig(weight=0.0, weight_end=0.0)

    def run(steps: int) -> None:
        settings = [
            TrainConfig(
                folds=FOLDS, members=1, steps=steps, batch=drawn, lr=1e-3 * (k + 1), clip=0.0,
                imbalance="none", label_smoothing=0.0, head_weight=0.0, noisy_share=0.0,
            )
            for k in range(together)
        ]  # fmt: skip
        fit(start, targets, FitConfig(settings, NoiseConfig(), off), seed=0)

    return run


def seconds_a_step(programs: dict[str, Run], timed: int, repeats: int) -> dict[str, float]:
    """Returns CPU seconds a step of each program; the programs take turns."""
    least = {name: {SHORT: math.inf, SHORT + timed: math.inf} for name in programs}
    for _ in range(repeats):
        for name, run in programs.items():
            for steps in least[name]:
                begun = time.process_time()
                run(steps)
                least[name][steps] = min(least[name][steps], time.process_time() - begun)
    return {name: (took[SHORT + timed] - took[SHORT]) / timed for name, took in least.items()}


def micro_profile(run: Run, steps: int, shown: int = 12) -> None:
    """Prints where the time of a step goes, by operation."""
    from torch.profiler import ProfilerActivity, profile

    run(SHORT)
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        run(steps)
    table = sorted(seen.key_averages(), key=lambda e: -e.self_cpu_time_total)
    total = sum(e.self_cpu_time_total for e in table)
    print(f"of {total / steps / 1000:.1f} ms a step under the profiler:")
    for e in table[:shown]:
        print(
            f"  {e.key:40.40s} {e.self_cpu_time_total / steps / 1000:7.2f} ms "
            f"{100 * e.self_cpu_time_total / total:5.1f} %   {e.count / steps:.0f} calls a step"
        )


def grid_table(
    *, hidden: int = 128, batch: int = 32, pca: int = 256, together: int = 8, timed: int = 40,
    repeats: int = 3, profiled: bool = False,
) -> None:  # fmt: skip
    """Prints the projected CPU hours of the whole grid, on all columns and on components."""
    generator = torch.Generator().manual_seed(0)
    every = {m: torch.randn(ROWS, d, generator=generator) for m, d in DIMS.items()}
    label = torch.randint(CLASSES, (ROWS,), generator=generator)
    config = FusionConfig(kind="attention", hidden=hidden)
    steps = EPOCHS * math.ceil(ROWS * (FOLDS - 1) / FOLDS / batch)
    print(
        f"{SETTINGS} settings x {FOLDS} folds x {EPOCHS} epochs of {ROWS} x "
        f"{tuple(DIMS.values())}, batch {batch}, {steps} steps a fold, projected from {timed} "
        f"steps, least of {repeats}"
    )
    begun = time.process_time()
    few = {m: v @ principal(v, pca)[0] for m, v in every.items()}
    once = (time.process_time() - begun) / 3600  # hours: components are found once for all settings
    for title, values, spent, count in (
        ("all columns", every, 0.0, max(2, timed // 4)),
        (f"{pca} components of each view (lossy)", few, once, timed),
    ):
        programs = {
            "plain": plain_loop(values, label, config, batch, fused=False),
            "plain, fused AdamW": plain_loop(values, label, config, batch, fused=True),
            "folds at once": stacked(values, label, config, batch, 1),
            f"{together} settings at once": stacked(values, label, config, batch, together),
        }
        took = seconds_a_step(programs, count, repeats)
        took[f"{together} settings at once"] /= together
        hours = {name: s * steps * SETTINGS / 3600 + spent for name, s in took.items()}
        print(f"{title}:", flush=True)
        for name, h in hours.items():
            print(
                f"  {name:24s} {h:6.2f} CPU hours   {hours['plain'] / h:5.1f} x plain   "
                f"{hours['plain, fused AdamW'] / h:5.1f} x plain with fused AdamW"
            )
        if profiled:
            micro_profile(programs["folds at once"], count)


def main() -> None:
    """Parses the command line and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--pca", type=int, default=256, help="components of each view")
    parser.add_argument("--together", type=int, default=8, help="settings trained at once")
    parser.add_argument("--steps-timed", type=int, default=40, help="a quarter on all columns")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--profile", action="store_true", help="where a step's time goes")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(
        f"{platform.machine()}, torch {torch.__version__}, threads {args.threads}, "
        f"OMP_NUM_THREADS {os.environ.get('OMP_NUM_THREADS', 'not set')}"
    )
    grid_table(
        hidden=args.hidden, batch=args.batch, pca=args.pca, together=args.together,
        timed=args.steps_timed, repeats=args.repeats, profiled=args.profile,
    )  # fmt: skip


if __name__ == "__main__":
    main()
