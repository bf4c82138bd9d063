"""`benchmark(config)`: every arm on every corpus, budget, draw, seed and outer fold; resumable.

The folder holds settings.json, runs.csv (one line a run, written by this process alone wherever
the cells are run), summary.csv, summary.md and two plots. A line that is there is never computed
again.
"""

from __future__ import annotations

import csv
import io
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...config.schema import signature
from ...devices import gpus_of
from ...errors import RunError
from ...files import jsonable, replacing
from ...guarded_files import CRC, read_guarded, with_crc, write_guarded
from ...parallel import run_cells
from ...self_training.lock import locked
from ...threads import limited_threads
from ..progress_line import tell_progress
from .cells import Cell, CellRunner, arms_of
from .config import BenchConfig, learning_of
from .corpus import load_corpus
from .data import outer_splits
from .results import KEY, read_runs

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


def benchmark(config: BenchConfig, *, progress: bool = True) -> Path:
    """Runs what is missing and writes the summary; returns the folder of the results.

    Args:
        config: see semi.experiments.benchmark.config.
        progress: a line on stderr after each dataset.
    """
    folder = Path(config.output)
    folder.mkdir(parents=True, exist_ok=True)
    with limited_threads(config.threads), locked(folder):
        return _benchmark(config, folder, progress)


def _benchmark(config: BenchConfig, folder: Path, progress: bool) -> Path:
    from .summary import write_summary

    _bind(folder, config)
    log = RunLog(folder / "runs.csv")
    corpora = {name: load_corpus(name, d) for name, d in config.datasets.items()}
    splits = {name: outer_splits(c, config.outer_folds) for name, c in corpora.items()}
    tasks: list[tuple[Cell, list[str]]] = []
    for cell in _cells(config, {name: len(s) for name, s in splits.items()}):
        arms = arms_of(config, cell)
        if missing := [arm for arm in arms if (*cell.key, arm) not in log.done]:
            tasks.append((cell, missing))
    runner, begun = CellRunner(config, corpora, splits), time.monotonic()
    # here each arm is written as it ends; of a cell elsewhere all arms come back together
    work = runner.lines if config.alone else runner.whole
    skipped: dict[tuple[str, ...], tuple[int, str]] = {}  # (corpus, budget) -> first cell, why
    gpus = gpus_of(config.device)
    for done, (number, lines) in enumerate(run_cells(config, work, tasks, gpus=gpus), 1):
        cell = tasks[number][0]
        for line in lines:
            if not isinstance(line, str):
                log.append(line)
                continue
            if progress and cell.key[:2] not in skipped:
                print(line, file=sys.stderr)
            skipped[cell.key[:2]] = min((number, line), skipped.get(cell.key[:2], (number, line)))
        if progress:
            tell_progress(done, len(tasks), " ".join(cell.key), begun)
    reasons = [line for _, line in sorted(skipped.values())]
    write_summary(folder, config, corpora, splits, reasons)
    return folder


def _cells(config: BenchConfig, folds: dict[str, int]) -> Iterator[Cell]:
    """Yields every dataset; draw by draw, so that an early summary covers all corpora."""
    for draw in range(config.draws):
        for seed in range(config.seeds):
            for dataset in config.datasets:
                for budget in [*config.budgets, *([None] if draw == 0 else [])]:
                    for fold in range(folds[dataset]):
                        yield Cell(dataset, budget, seed, draw, fold)


class RunLog:
    """runs.csv: reads finished runs, appends new ones; a line is there whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._mend()
        self.done = {tuple(row[k] for k in KEY) for row in read_runs(path)}

    def append(self, row: dict[str, Any]) -> None:
        """Writes one line, on the disk when this returns."""
        text = io.StringIO()
        writer = csv.DictWriter(text, RUN_COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writerow(row)
        line = text.getvalue()
        if self.guarded:
            line = with_crc(line.rstrip("\n"), ",".join([*RUN_COLUMNS, CRC])) + "\n"
        with open(self.path, "ab", buffering=0) as file:
            file.write(line.encode())
            os.fsync(file.fileno())
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
