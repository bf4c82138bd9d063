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

from ...config.schema import signature
from ...errors import RunError
from ...evaluation.bootstrap import metrics_from_confusion
from ...evaluation.metrics import confusion
from ...files import jsonable, read_json, replacing, write_json
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
from .data import Corpus, Outer, dataset_of, load_corpus, outer, outer_splits
from .results import ALL_LABELS, KEY, coded, read_runs
from .usb import usb_arm

FACTS = ("gold_rows", "pool_rows", "test_rows", "accuracy", "waf", "macro_f1", "uar", "rounds",
         "accepted", "shipped", "stopped", "coverage", "precision", "oof_start", "oof_final",
         "cpu_seconds")  # fmt: skip
COLUMNS: tuple[str, ...] = (
    *KEY,
    *FACTS,
    "answers",
)  # answers: class numbers of the test rows, see `coded`


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
    mine = cells[k - 1 :: n]
    begun, ready = time.monotonic(), _Ready(corpora, splits)
    skipped: dict[tuple[str, ...], str] = {}  # (corpus, budget) -> why
    for i, cell in enumerate(mine):
        told = _run_cell(config, cell, ready, log)
        if told and cell.key[:2] not in skipped:
            skipped[cell.key[:2]] = told
            if progress:
                print(told, file=sys.stderr)
        if progress:
            spent = time.monotonic() - begun
            left = spent / (i + 1) * (len(mine) - i - 1)
            print(f"{i + 1}/{len(mine)} {' '.join(cell.key)}: {spent:.0f} s, about {left:.0f} s "
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

    def __init__(self, corpora: dict[str, Corpus], splits: dict[str, list[np.ndarray]]) -> None:
        self.corpora, self.splits = corpora, splits
        self.known: dict[tuple[str, int], Outer] = {}

    def outer(self, dataset: str, fold: int) -> Outer:
        """Returns one outer split of a corpus."""
        key = (dataset, fold)
        if key not in self.known:
            self.known[key] = outer(self.corpora[dataset], self.splits[dataset][fold], fold)
        return self.known[key]


def arms_of(
    config: BenchConfig, cell: Cell
) -> dict[str, Callable[[Dataset, Starts], ArmPredictions]]:
    """Returns the arms of a dataset: name -> function."""
    seed = config.seed + cell.seed
    base = learning_of(config, seed)

    def ours(run, *words: str):
        learning = learning_of(config, seed, words) if words else base
        return lambda dataset, starts: run(dataset, learning, starts)

    def theirs(kind: str):
        if kind in USB:
            return lambda dataset, starts: usb_arm(dataset, kind, seed)
        return lambda dataset, starts: sklearn_arm(dataset, kind)

    if cell.budget is None:
        if "oracle" not in config.controls:
            return {}
        found = {"oracle": ours(supervised_arm)}
        return found | ({"logistic_oracle": theirs("logistic")} if config.baselines else {})
    found = {"supervised": ours(supervised_arm)}
    if "placebo" in config.controls:
        found["placebo"] = ours(placebo_arm)
    if "shuffled" in config.controls:
        found["shuffled"] = ours(shuffled_arm)
    found |= {rule: ours(rounds_arm, f"select.rule={rule}") for rule in config.rules}
    found |= {name: ours(rounds_arm, *words) for name, words in config.variants.items()}
    if config.baselines:
        found |= {kind: theirs(kind) for kind in ("logistic", *config.baselines)}
    return found


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
        known = int((corpus.label[split.train] >= 0).sum())
        return (
            f"{cell.dataset}: budget {cell.key[1]} is skipped; an outer fold trains on {known} "
            "labelled rows, and that leaves none to hide (two of each class stay labelled), or too "
            "few to learn two classes"
        )
    starts = Starts()
    for arm in missing:
        said = arms[arm](dataset, starts)
        log.append(_line(cell, arm, said, dataset))
    return ""


def _line(cell: Cell, arm: str, said: ArmPredictions, dataset: Dataset) -> dict[str, Any]:
    label = dataset.label[dataset.test].cpu().numpy()
    table = confusion(label, said.predicted, len(dataset.classes))
    scores = {k: round(float(v), 6) for k, v in metrics_from_confusion(table).items()}
    facts = {k: round(v, 6) if isinstance(v, float) else v for k, v in said.facts.items()}
    rows = {
        "gold_rows": len(dataset.gold),
        "pool_rows": len(dataset.pool),
        "test_rows": len(dataset.test),
    }
    given = dict(zip(KEY, (*cell.key, arm), strict=True))
    return given | rows | scores | facts | {"answers": coded(said.predicted)}


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
        writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writerow(row)
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(handle, text.getvalue().encode())
            os.fsync(handle)
        finally:
            os.close(handle)
        self.done.add(tuple(str(row[k]) for k in KEY))

    def _mend(self) -> None:
        """Starts the file, or drops a last line that a kill has cut off."""
        head = ",".join(COLUMNS) + "\n"
        text = self.path.read_bytes() if self.path.is_file() else b""
        if text and not text.startswith(head.encode()):
            raise RunError(f"{self.path} is not a list of benchmark runs; choose another output=")
        whole = text[: text.rfind(b"\n") + 1] or head.encode()
        if whole != text:
            with replacing(self.path) as temporary:
                temporary.write_bytes(whole)


def _bind(folder: Path, config: BenchConfig) -> None:
    """Ties the folder to what every run in it has in common; new datasets and arms may come."""
    learning: Any = learning_of(config, config.seed)
    mine = jsonable(
        {
            "learning": signature(learning),
            "outer_folds": config.outer_folds,
            "datasets": {name: asdict(d) for name, d in config.datasets.items()},
            "variants": config.variants,
        }
    )
    path = folder / "settings.json"
    old = read_json(path)
    if old is not None:
        _refuse_other(folder, old, mine)
        mine["datasets"] = old["datasets"] | mine["datasets"]
        mine["variants"] = old["variants"] | mine["variants"]
    if mine != old:
        write_json(path, mine)


def _refuse_other(folder: Path, old: dict, new: dict) -> None:
    told = []
    for part in ("learning", "datasets", "variants"):
        for key in old[part].keys() & new[part].keys():
            if old[part][key] != new[part][key]:
                name = key if part == "learning" else f"{part}.{key}"
                told.append(f"{name} was {old[part][key]}, is {new[part][key]}")
    if old["outer_folds"] != new["outer_folds"]:
        told.append(f"outer_folds was {old['outer_folds']}, is {new['outer_folds']}")
    if told:
        raise RunError(
            f"{folder} holds runs of other settings: {'; '.join(sorted(told))}; "
            "choose another output="
        )
