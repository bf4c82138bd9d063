"""What contrast costs on a CPU, as ratios of CPU seconds of one process.

    python benchmarks/contrast_cost.py [FOLDER] [--draws 5] [--repeats 9]

1. the contrastive terms of six chains, forth and back: masks, log-sum-exp and autograd under vmap
   (the usual way) against models.losses.partners; equal results are checked first;
2. with FOLDER (the features of benchmarks/contrast.py), all rounds of recipe auto without the
   floor: the linear student, and the contrastive one with the steps of before (batch 64, dropout)
   and as they are; and what each scores on test rows. Runs alternate.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from contrast import CORPORA, macro_f1
from torch import Tensor
from torch.func import vmap

from models.fusion import FusionConfig
from models.losses.contrastive import clip_loss, nt_xent
from models.losses.reduce import unit, weighted_mean
from semi.config.learning import LearningConfig
from semi.config.recipes import resolved
from semi.experiments.benchmark.config import DatasetConfig
from semi.experiments.benchmark.corpus import load_corpus
from semi.experiments.benchmark.data import dataset_of, outer, outer_splits
from semi.self_training.rounds import run_rounds
from semi.training.dataset import Dataset
from semi.training.optim import keep_heap
from semi.training.views import viewed

CHAINS, ROWS, WIDTH = 6, 128, 32


def plain_nt_xent(a: Tensor, b: Tensor, tau: Tensor, same: Tensor) -> Tensor:
    """Returns NT-Xent of one member's views (M, B, P) as it is usually written."""
    a, b = unit(a), unit(b)
    z = torch.cat([a, b], -2)
    eye = torch.eye(a.shape[-2], dtype=torch.bool)
    within, across = ~same & ~eye, ~same | eye
    open_ = torch.cat([torch.cat([within, across], -1), torch.cat([across, within], -1)], -2)
    per = torch.logsumexp((z @ z.mT / tau).masked_fill(~open_, -torch.inf), -1)
    partner = (a * b).sum(-1) / tau
    return weighted_mean(per - torch.cat([partner, partner], -1), torch.ones_like(per))


def plain_clip(a: Tensor, b: Tensor, tau: Tensor, same: Tensor) -> Tensor:
    """Returns CLIP's loss of one member's views (M, B, P) as it is usually written."""
    a, b = unit(a), unit(b)
    closed = same & ~torch.eye(a.shape[-2], dtype=torch.bool)
    score, partner = a @ b.mT / tau, (a * b).sum(-1) / tau
    forth = torch.logsumexp(score.masked_fill(closed, -torch.inf), -1)
    back = torch.logsumexp(score.mT.masked_fill(closed, -torch.inf), -1)
    return weighted_mean(0.5 * (forth + back) - partner, torch.ones_like(partner))


def of_terms(views: int) -> dict[str, Callable[[], list[Tensor]]]:
    """Returns programs that give the terms of all chains and their gradients."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, CHAINS, views, ROWS, WIDTH, generator=generator)
    tau = torch.full((CHAINS,), 0.1)
    known = torch.randint(-1, 6, (CHAINS, ROWS), generator=generator)
    same = (known[..., None] == known[:, None]) & (known >= 0)[..., None]
    given = [x.requires_grad_() for x in (a, b, tau)]

    def back(loss: Tensor) -> list[Tensor]:
        return [loss.detach(), *torch.autograd.grad(loss.sum(), given)]

    def fused() -> list[Tensor]:
        many = same[:, None]
        scale = tau[:, None]
        return back(nt_xent(a, b, scale, same=many) + clip_loss(a, b, -scale.log(), same=many))

    def usual() -> list[Tensor]:
        one = vmap(lambda a, b, t, s: plain_nt_xent(a, b, t, s) + plain_clip(a, b, t, s))
        return back(one(a, b, tau, same))

    return {"usual": usual, "fused": fused}


def seconds(run: Callable[[], object]) -> float:
    """Returns the CPU seconds of a call."""
    begun = time.process_time()
    run()
    return time.process_time() - begun


def students() -> dict[str, LearningConfig]:
    """Returns the students whose rounds are compared."""
    linear = LearningConfig(recipe="auto", model=FusionConfig(kind="discriminant"))
    now = LearningConfig(recipe="auto")
    before = replace(now, train=replace(now.train, batch=64), model=FusionConfig(dropout=0.3))
    return {
        "linear": linear,
        "steps of before": replace(before, given=["train.batch", "model.dropout"]),
        "contrastive": now,
    }


def lived(dataset: Dataset, config: LearningConfig) -> tuple[float, float]:
    """Returns the CPU seconds of the rounds, and the test macro-F1 of what ships."""
    config = resolved(config, len(dataset.gold), len(dataset.pool))[0]
    config = replace(config, rounds=replace(config.rounds, floor=False))
    begun = time.process_time()
    final = run_rounds(dataset, config).final
    return time.process_time() - begun, macro_f1(dataset, final)


def problems(folder: Path, name: str, draws: list[int]) -> Iterator[Dataset]:
    """Yields the problems of a corpus: three outer folds, 50 labels."""
    views, words = CORPORA[name]
    words = words | {"views": [p for parts in views.parts.values() for p in parts], "pca": None}
    corpus = load_corpus(name, DatasetConfig(features=str(folder / f"{name}.npz"), **words))
    for part, test in enumerate(outer_splits(corpus, 3)):
        split = outer(corpus, test, part)
        for draw in draws:
            data = dataset_of(corpus, split, 50, draw=draw, folds=5, seed=0)
            assert data is not None
            yield viewed(data, views)


def of_rounds(folder: Path, name: str, draws: list[int]) -> None:
    """Prints CPU seconds of the rounds and what they score."""
    found: dict[str, list[tuple[float, float]]] = {arm: [] for arm in students()}
    for data in problems(folder, name, draws):
        if not found["linear"]:
            lived(data, students()["contrastive"])  # the first run also loads code
        for arm, config in students().items():
            found[arm].append(lived(data, config))
    mean = {
        arm: [statistics.mean(x) for x in zip(*runs, strict=True)] for arm, runs in found.items()
    }
    told = [
        f"{arm} {cpu:.2f} s ({cpu / mean['linear'][0]:.1f}x), macro-F1 {value:.1f}"
        for arm, (cpu, value) in mean.items()
    ]
    print(f"{name}, 50 labels, {len(found['linear'])} problems: " + "; ".join(told))


def main() -> None:
    """Prints both comparisons."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--draws", type=int, nargs="+", default=[5])
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_heap()
    print(f"torch {torch.__version__}, {CHAINS} chains, {ROWS} rows, {WIDTH} columns")
    for views in (1, 2, 3):
        programs = of_terms(views)
        times: dict[str, list[float]] = {name: [] for name in programs}
        pairs = zip(*(run() for run in programs.values()), strict=True)
        apart = max(float((x - y).abs().max() / y.abs().max()) for x, y in pairs)
        for _ in range(args.repeats):
            for name, run in programs.items():
                times[name].append(seconds(run))
        usual, fused = (1000 * statistics.median(t) for t in times.values())
        print(
            f"terms of {views} pairs of views, forth and back: usual {usual:.1f} ms, fused "
            f"{fused:.1f} ms, {usual / fused:.1f}x; apart by {apart:.0e} of the largest"
        )
    if args.folder:
        for name in ("emodb", "emodb_goemotions", "mosi"):
            of_rounds(args.folder, name, args.draws)


if __name__ == "__main__":
    main()
