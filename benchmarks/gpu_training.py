"""Training and rounds in benchmarks/gpu.py: steps a second, rows a second, the CPU's solutions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from gpu_timing import Clock, Settings, wait
from torch import Tensor

from models.fusion import ContrastConfig, FusionConfig
from noise import NoiseConfig
from semi.config.learning import LearningConfig
from semi.config.training import RoundsConfig, TrainConfig
from semi.self_training.rounds import run_rounds
from semi.self_training.targets import targets_of
from semi.training.dataset import Dataset
from semi.training.ensemble import Ensemble
from semi.training.fit import training_step
from semi.training.graphed_step import GraphedStep
from semi.training.steps import FitConfig
from semi.training.students.discriminant import solve_positive
from semi.training.students.logistic import solve_logistic

CLASSES, FOLDS, MEMBERS = 7, 5, 3  # six chains of three members: 18 models


def made_up(rows: int, dims: dict[str, int], device: torch.device) -> Dataset:
    """Returns random vectors of seven classes; a tenth of the rows, 5,000 at most, are gold."""
    generator = torch.Generator(device=device).manual_seed(0)
    label = torch.arange(rows, device=device) % CLASSES
    values = {}
    for name, width in dims.items():
        centre = torch.randn(CLASSES, width, device=device, generator=generator)
        values[name] = torch.randn(rows, width, device=device, generator=generator)
        values[name] += 0.3 * centre.index_select(0, label)
    gold = min(rows // 10, 5000)
    every = torch.arange(rows, device=device)
    target = torch.zeros(rows, CLASSES, device=device)
    target[:gold] = torch.eye(CLASSES, device=device).index_select(0, label[:gold])
    return Dataset(
        ids=np.char.mod("u%08d", np.arange(rows)),
        values=values,
        present=torch.ones(rows, len(dims), dtype=torch.bool, device=device),
        target=target, label=label, gold=every[:gold], pool=every[gold:],
        dev=every[:0], test=every[:0], fold=every[:gold] // CLASSES % FOLDS,
        group=np.char.mod("s%d", np.arange(rows) // CLASSES % 20),
        classes=[f"c{i}" for i in range(CLASSES)],
    )  # fmt: skip


def training_steps(settings: Settings, clock: Clock) -> Iterator[dict[str, Any]]:
    """Yields steps a second of the contrastive student, kernel by kernel and as a CUDA graph."""
    small, device = settings.small, settings.device
    dims = {"speech": 12, "text": 8} if small else {"speech": 1024, "text": 768}
    rows, count = (700, 34) if small else (5000, 2000)
    dataset = made_up(rows, dims, device)
    for members in (1,) if small else (1, MEMBERS):
        model = FusionConfig(hidden=8, projection=4) if small else FusionConfig()
        train = TrainConfig(steps=count, members=members, folds=FOLDS)
        config = FitConfig([train], NoiseConfig(), ContrastConfig())
        chains = (FOLDS + 1) * members
        for way in ("kernel by kernel", "CUDA graph") if device.type == "cuda" else ("plain",):
            start = Ensemble.create(model, dims, CLASSES, count=chains, seed=0, device=device)
            generator = torch.Generator(device=device).manual_seed(0)
            step: Any = training_step(start, targets_of(dataset, None, None), config, generator)
            contrasts = step.steps.contrasts
            if way == "CUDA graph":
                step = GraphedStep(step, generator)
            done, seconds = paced(step, contrasts, device, min(clock.left() / 2, 10.0))
            graphed = way == "CUDA graph" and step.graph is not None
            note = "" if graphed or way != "CUDA graph" else "no graph: see stderr"
            yield {
                "members": chains, "batch": train.batch, "way": way, "steps": done,
                "steps a second": done / seconds, "note": note,
            }  # fmt: skip


def paced(
    step: Callable[[bool], Any], contrasts: list[bool], device: torch.device, most: float
) -> tuple[int, float]:
    """Returns how many steps were done in how many seconds, after ten that do not count."""
    for contrasting in contrasts[:10]:
        step(contrasting)
    wait(device)
    began, done = time.perf_counter(), 0
    for contrasting in contrasts[10:]:
        step(contrasting)
        done += 1
        if done % 50 == 0:  # the host runs ahead of the device: without a wait the clock lies
            wait(device)
            if time.perf_counter() - began > most:
                break
    wait(device)
    return done, time.perf_counter() - began


def rounds(settings: Settings, clock: Clock) -> Iterator[dict[str, Any]]:
    """Yields the seconds of a warm start and a round, linear students, 256 dimensions."""
    sizes = (300, 1000) if settings.small else (10**4, 10**5, 10**6, 10**7)
    dims = {"speech": 8} if settings.small else {"speech": 256}
    folds = 2 if settings.small else FOLDS
    for kind in ("discriminant", "logistic"):
        last, seconds = 0, 0.0
        for rows in sizes:
            if clock.left() < 0 or (last and seconds * rows / last > clock.left()):
                yield {"student": kind, "rows": rows, "note": "no time left"}
                continue
            dataset = made_up(rows, dims, settings.device)
            dataset = replace(dataset, fold=dataset.fold % folds)
            config = LearningConfig(
                recipe="none", model=FusionConfig(kind=kind, components=min(50, *dims.values())),
                train=TrainConfig(folds=folds, members=1), rounds=RoundsConfig(max_rounds=1),
                contrast=ContrastConfig(pretrain_steps=0),
            )  # fmt: skip
            wait(settings.device)
            began = time.perf_counter()
            outcome = run_rounds(dataset, config)
            wait(settings.device)
            last, seconds = rows, time.perf_counter() - began
            yield {
                "student": kind, "rows": rows, "seconds": seconds, "rows a second": rows / seconds,
                "rounds": len(outcome.states) - 1,
            }  # fmt: skip


def equal_solutions(settings: Settings, clock: Clock) -> Iterator[dict[str, Any]]:
    """Yields how far what is solved on the device is from what is solved on the CPU."""
    rows, width = (60, 5) if settings.small else (2000, 100)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, width, generator=generator)
    label = torch.randint(CLASSES, (rows,), generator=generator)
    target = torch.eye(CLASSES)[label].expand(4, -1, -1).contiguous()
    weight = torch.rand(4, rows, generator=generator)
    square = x.T @ x + torch.eye(width)

    def logistic(x: Tensor, target: Tensor, weight: Tensor, square: Tensor) -> Tensor:
        return solve_logistic(x, target, weight, 1.0)[0]

    def positive(x: Tensor, target: Tensor, weight: Tensor, square: Tensor) -> Tensor:
        return solve_positive(square[None].double(), x[:CLASSES].T[None].double())

    for name, solve in (("logistic regression", logistic), ("positive definite", positive)):
        given = (x, target, weight, square)
        want = solve(*given)
        got = solve(*(t.to(settings.device) for t in given)).cpu()
        far = float((got - want).abs().max() / want.abs().max())
        yield {"what": name, "farthest": far}
