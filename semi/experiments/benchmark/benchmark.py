"""`benchmark(config)`: every arm on every corpus, budget, draw, seed and outer fold; resumable.

The folder holds settings.json, runs.csv (one line a run, appended whole), summary.csv, summary.md
and two plots. A line that is there is never computed again.
"""

from __future__ import annotations

import csv
import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...config.learning import LearningConfig
from ...config.schema import signature
from ...data.wording import counted
from ...errors import RunError
from ...evaluation.intervals import metrics_from_confusion
from ...evaluation.metrics import confusion
from ...files import jsonable, replacing
from ...guarded_files import CRC, read_guarded, with_crc, write_guarded
from ...threads import limited_threads
from ...training.dataset import Dataset
from .arms import (
    ArmPredictions,
    Starts,
    placebo_arm,
    rounds_arm,
    shuffled_arm,
    sklearn_arm,
    supervised_arm,
)
from .config import USB, BenchConfig, budget_name, learning_of
from .corpus import BenchCorpus, load_corpus
from .data import Outer, dataset_of, outer, outer_splits
from .oracle import oracle_arm
from .results import ALL_LABELS, KEY, coded, read_runs
from .usb import usb_arm

RUN_FACTS = ("gold_rows", "pool_rows", "test_rows", "accuracy", "waf", "macro_f1", "uar", "rounds",
         "accepted", "shipped", "stopped", "coverage", "precision", "oof_start", "oof_final",
         "cpu_seconds")  # fmt: skip
RUN_COLUMNS: tuple[str, ...] = (
    *KEY,
    *RUN_FACTS,
    "answers",
)  # answers: class numbers of the test rows, see `coded`
BOUND = "settings.json"
BOUND_SHAPE = {
    "learning": {str: object}, "outer_folds": object, "datasets": {str: object},
    "variants": {str: object},
}  # fmt: skip
Arm = Callable[[Dataset, Starts], ArmPredictions]
LearningArm = Callable[[Dataset, LearningConfig, Starts], ArmPredictions]


@dataclass
class Cell:
    """One dataset and the arms to run on it."""

    dataset: str
    budget: float | None  # None = all labels, for the oracle
    seed: int
    draw: int
    fold: int

    @property
    def key(self) -> tuple[str, ...]:
        """The first words of the run's line."""
        name = ALL_LABELS if self.budget is None else budget_name(self.budget)
        return (self.dataset, name, str(self.seed), str(self.draw), str(self.fold))


def benchmark(config: BenchConfig, *, progress: bool = True) -> Path:
    """Runs what is missing and writes the summary; returns the folder of the results.

    Args:
        config: see semi.experiments.benchmark.config.
        progress: a line on stderr after each dataset.
    """
    with limited_threads(config.threads):
        return _benchmark(config, progress)


def _benchmark(config: BenchConfig, progress: bool) -> Path:
    from .summary import write_summary

    folder = Path(config.output)
    _bind(folder, config)
    log = RunLog(folder / "runs.csv")
    corpora = {name: load_corpus(name, d) for name, d in config.datasets.items()}
    splits = {name: outer_splits(c, config.outer_folds) for name, c in corpora.items()}
    cells = list(_cells(config, {name: len(s) for name, s in splits.items()}))
    k, n = (int(x) for x in config.part.split("/"))
    share = cells[k - 1 :: n]
    begun, ready = time.monotonic(), _Ready(corpora, splits)
    skipped: dict[tuple[str, ...], str] = {}  # (corpus, budget) -> why
    for i, cell in enumerate(share):
        reason = _run_cell(config, cell, ready, log)
        if reason and cell.key[:2] not in skipped:
            skipped[cell.key[:2]] = reason
            if progress:
                print(reason, file=sys.stderr)
        if progress:
            spent = time.monotonic() - begun
            left = spent / (i + 1) * (len(share) - i - 1)
            print(f"{i + 1}/{len(share)} {' '.join(cell.key)}: {spent:.0f} s, about {left:.0f} s "
                  "to go", file=sys.stderr)  # fmt: skip
    write_summary(folder, config, corpora, splits, list(skipped.values()))
    return folder


def _cells(config: BenchConfig, folds: dict[str, int]) -> Iterator[Cell]:
    """Yields every dataset; draw by draw, so that an early summary covers all corpora."""
    for draw in range(config.draws):
        for seed in range(config.seeds):
            for dataset in config.datasets:
                for budget in [*config.budgets, *([None] if draw == 0 else [])]:
                    for fold in range(folds[dataset]):
                        yield Cell(dataset, budget, seed, draw, fold)


class _Ready:
    """Outer splits, scaled once and kept."""

    def __init__(
        self, corpora: dict[str, BenchCorpus], splits: dict[str, list[np.ndarray]]
    ) -> None:
        self.corpora, self.splits = corpora, splits
        self.known: dict[tuple[str, int], Outer] = {}

    def outer(self, dataset: str, fold: int) -> Outer:
        """Returns one outer split of a corpus."""
        key = (dataset, fold)
        if key not in self.known:
            self.known[key] = outer(self.corpora[dataset], self.splits[dataset][fold], fold)
        return self.known[key]


def arms_of(config: BenchConfig, cell: Cell) -> dict[str, Arm]:
    """Returns the arms of a dataset: name -> function."""
    seed = config.seed + cell.seed
    base = learning_of(config, seed)

    def ours(run: LearningArm, *overrides: str) -> Arm:
        learning = learning_of(config, seed, overrides) if overrides else base
        return lambda dataset, starts: run(dataset, learning, starts)

    def theirs(kind: str) -> Arm:
        if kind in USB:
            return lambda dataset, starts: usb_arm(dataset, kind, seed)
        return lambda dataset, starts: sklearn_arm(dataset, kind)

    if cell.budget is None:
        if "oracle" not in config.controls:
            return {}
        arms = {"oracle": ours(oracle_arm)}
        return arms | ({"logistic_oracle": theirs("logistic")} if config.baselines else {})
    arms = {"supervised": ours(supervised_arm)}
    if "placebo" in config.controls:
        arms["placebo"] = ours(placebo_arm)
    if "shuffled" in config.controls:
        arms["shuffled"] = ours(shuffled_arm)
    arms |= {rule: ours(rounds_arm, f"select.rule={rule}") for rule in config.rules}
    arms |= {name: ours(rounds_arm, *overrides) for name, overrides in config.variants.items()}
    if config.baselines:
        arms |= {kind: theirs(kind) for kind in ("logistic", *config.baselines)}
    return arms


def _run_cell(config: BenchConfig, cell: Cell, ready: _Ready, log: RunLog) -> str:
    """Runs the missing arms of a dataset; returns why there is no dataset, or ''."""
    arms = arms_of(config, cell)
    missing = [arm for arm in arms if (*cell.key, arm) not in log.done]
    if not missing:
        return ""
    corpus = ready.corpora[cell.dataset]
    split = ready.outer(cell.dataset, cell.fold)
    make = partial(
        dataset_of, corpus, split, cell.budget, draw=cell.draw, folds=config.train.folds,
        seed=config.seed + cell.seed, device=config.device,
    )  # fmt: skip
    dataset = make()
    if dataset is None:
        labelled = int((corpus.label[split.train] >= 0).sum())
        return (
            f"{cell.dataset}: budget {cell.key[1]} is skipped; an outer fold trains on "
            f"{counted(labelled, 'labelled row')}, and that leaves none to hide (two of each class "
            "stay labelled), or too few to learn two classes"
        )
    starts = Starts()
    for arm in missing:
        predictions = arms[arm](dataset, starts)
        log.append(_line(cell, arm, predictions, dataset))
    return ""


def _line(cell: Cell, arm: str, predictions: ArmPredictions, dataset: Dataset) -> dict[str, Any]:
    label = dataset.label[dataset.test].cpu().numpy()
    table = confusion(label, predictions.predicted, len(dataset.classes))
    scores = {k: round(float(v), 6) for k, v in metrics_from_confusion(table).items()}
    facts = {k: round(v, 6) if isinstance(v, float) else v for k, v in predictions.facts.items()}
    rows = {
        "gold_rows": len(dataset.gold),
        "pool_rows": len(dataset.pool),
        "test_rows": len(dataset.test),
    }
    given = dict(zip(KEY, (*cell.key, arm), strict=True))
    return given | rows | scores | facts | {"answers": coded(predictions.predicted)}


class RunLog:
    """runs.csv: reads finished runs, appends new ones; a line is there whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._mend()
        self.done = {tuple(row[k] for k in KEY) for row in read_runs(path)}

    def append(self, row: dict[str, Any]) -> None:
        """Writes one line with one write call, so that several processes can share the file."""
        text = io.StringIO()
        writer = csv.DictWriter(text, RUN_COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writerow(row)
        line = text.getvalue()
        if self.guarded:
            line = with_crc(line.rstrip("\n"), ",".join([*RUN_COLUMNS, CRC])) + "\n"
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(handle, line.encode())
            os.fsync(handle)
        finally:
            os.close(handle)
        self.done.add(tuple(str(row[k]) for k in KEY))

    def _mend(self) -> None:
        """Starts the file, or drops a last line that a kill has cut off."""
        plain = ",".join(RUN_COLUMNS)
        text = self.path.read_bytes() if self.path.is_file() else b""
        self.guarded = not text.startswith(f"{plain}\n".encode())  # else of an earlier version
        head = f"{plain},{CRC}\n" if self.guarded else f"{plain}\n"
        if text and not text.startswith(head.encode()):
            raise RunError(f"{self.path} is not a list of benchmark runs; choose another output=")
        whole = text[: text.rfind(b"\n") + 1] or head.encode()
        if whole != text:
            with replacing(self.path) as temporary:
                temporary.write_bytes(whole)


def _bind(folder: Path, config: BenchConfig) -> None:
    """Ties the folder to what every run in it has in common; new datasets and arms may come."""
    learning: Any = learning_of(config, config.seed)
    new = jsonable(
        {
            "learning": signature(learning),
            "outer_folds": config.outer_folds,
            "datasets": {name: asdict(d) for name, d in config.datasets.items()},
            "variants": config.variants,
        }
    )
    path = folder / BOUND
    old = read_guarded(path, BOUND_SHAPE)
    if old is not None:
        _refuse_other(folder, old, new)
        new["datasets"] = old["datasets"] | new["datasets"]
        new["variants"] = old["variants"] | new["variants"]
    if new != old:
        write_guarded(path, new)


def _refuse_other(folder: Path, old: dict, new: dict) -> None:
    changes = []
    for part in ("learning", "datasets", "variants"):
        for key in old[part].keys() & new[part].keys():
            if old[part][key] != new[part][key]:
                name = key if part == "learning" else f"{part}.{key}"
                changes.append(f"{name} was {old[part][key]}, is {new[part][key]}")
    if old["outer_folds"] != new["outer_folds"]:
        changes.append(f"outer_folds was {old['outer_folds']}, is {new['outer_folds']}")
    if changes:
        raise RunError(
            f"{folder} holds runs of other settings: {'; '.join(sorted(changes))}; "
            "choose another output="
        )
