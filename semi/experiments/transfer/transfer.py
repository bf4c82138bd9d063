"""`transfer(config)`: every arm on every target, seed and outer fold; resumable.

The folder holds transfer.json, runs.csv (one line a run), summary.csv and summary.md. A line that
is there is never computed again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from ...config.schema import signature
from ...data.wording import listed
from ...devices import gpus_of
from ...errors import RunError
from ...features.tensors import Features
from ...files import jsonable
from ...guarded_files import read_guarded, write_guarded
from ...parallel import run_cells
from ...self_training.lock import locked
from ...threads import limited_threads
from ..benchmark.arms import Starts, rounds_arm, supervised_arm
from ..benchmark.benchmark import RunLog
from ..benchmark.cells import Cell, line_of
from ..benchmark.config import learning_of
from ..benchmark.corpus import load_corpus
from ..benchmark.data import dataset_of_sides
from ..progress_line import tell_progress
from .config import TransferConfig, named_corpora
from .corpora import Pair, Side, pair_of, parts_of, scaled
from .labels import harmonised, map_sentence, read_maps
from .summary import write_summary

BOUND_TRANSFER = "transfer.json"
CHANGES_SHOWN = 4  # of settings, in a message
TRANSFER_SHAPE = {"settings": {str: object}, "corpora": {str: object}}


def transfer(config: TransferConfig, *, progress: bool = True) -> Path:
    """Runs what is missing and writes the summary; returns the folder of the results.

    Args:
        config: see semi.experiments.transfer.config.
        progress: a line on stderr after each run.
    """
    folder = Path(config.output)
    folder.mkdir(parents=True, exist_ok=True)
    with limited_threads(config.threads), locked(folder):
        pairs, notes = load_pairs(config)
        _bind(folder, config, pairs)
        log = RunLog(folder / "runs.csv")
        tasks = [task for task in _cells(config, pairs) if (*task[0].key, task[1]) not in log.done]
        runner, begun = ArmRunner(config, pairs), time.monotonic()
        gpus = gpus_of(config.device)
        for done, (number, line) in enumerate(run_cells(config, runner, tasks, gpus=gpus), 1):
            log.append(line)
            if progress:
                cell, arm = tasks[number]
                what = f"{cell.dataset} {arm}, seed {cell.seed}, fold {cell.fold}"
                tell_progress(done, len(tasks), what, begun)
        write_summary(folder, config, pairs, notes)
    return folder


def load_pairs(config: TransferConfig) -> tuple[dict[str, Pair], list[str]]:
    """Returns each target with the sources, by name, and what became of the classes' names."""
    named = named_corpora(config)
    corpora = {name: load_corpus(name, d) for name, d in named.datasets.items()}
    maps = read_maps(config.labels, {name: c.classes for name, c in corpora.items()})
    sides = {
        name: Side(corpus, harmonised(corpus.classes, maps.get(name, {})))
        for name, corpus in corpora.items()
    }
    notes = [n for name, side in sides.items() if (n := map_sentence(name, side.names))]
    sources = [sides[name] for name in named.source]
    pairs = [pair_of(sources, sides[name], config) for name in named.target]
    return {pair.name: pair for pair in pairs}, notes


def _cells(config: TransferConfig, pairs: dict[str, Pair]) -> Iterator[tuple[Cell, str]]:
    """Yields every run: a cell of the benchmark with all labels, and an arm."""
    arms = ["source", *(arm for arm in config.arms if arm != "source")]
    for seed in range(config.seeds):
        for name, pair in pairs.items():
            for arm in arms:
                folds = 1 if arm == "transductive" else len(pair.tests)
                yield from ((Cell(name, None, seed, 0, fold), arm) for fold in range(folds))


@dataclass
class ArmRunner:
    """Runs one arm of one outer fold; in another process as well."""

    config: TransferConfig
    pairs: dict[str, Pair]
    # target and rows learned from -> values, scaled once and kept: arms and seeds share them
    known: dict[tuple[str, bytes], dict[str, Tensor]] = field(default_factory=dict)

    def __call__(self, task: tuple[Cell, str]) -> dict[str, Any]:
        """Returns the line of a run."""
        (cell, arm), config = task, self.config
        pair, seed = self.pairs[cell.dataset], config.seed + cell.seed
        parts = parts_of(pair, arm, cell.fold, config.standardize)
        with limited_threads(config.threads):
            key = (cell.dataset, parts.learn.tobytes())
            if key not in self.known:
                self.known[key] = scaled(pair, parts.learn, config)
            values, folds = self.known[key], config.train.folds
            dataset = dataset_of_sides(
                pair.corpus, parts, Features(values, pair.corpus.features.present), folds=folds,
                seed=seed, device=config.device,
            )  # fmt: skip
            run = rounds_arm if len(parts.pool) else supervised_arm
            return line_of(cell, arm, run(dataset, learning_of(config, seed), Starts()), dataset)


def _changes(name: str, old: Any, new: Any) -> Iterator[str]:
    """Yields what differs between two values of a setting; of nested ones each by its path."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        if old != new:
            yield f"{name} was {old}, is {new}"
        return
    for key in sorted(old.keys() | new.keys()):
        yield from _changes(f"{name}.{key}", old.get(key), new.get(key))


def _bind(folder: Path, config: TransferConfig, pairs: dict[str, Pair]) -> None:
    """Ties the folder to what all runs in it have in common; new targets, arms, seeds may come."""
    learning: Any = learning_of(config, config.seed)
    kept = {k: getattr(config, k) for k in ("source", "standardize", "pca", "foreign", "views",
                                            "outer_folds")}  # fmt: skip
    corpora = {
        name: {"classes": pair.corpus.classes, "rows": len(pair.corpus), "sources": pair.sources,
               "sides": {side.corpus.name: {"dataset": asdict(side.corpus.config),
                                            "labels": side.names} for side in pair.sides}}
        for name, pair in pairs.items()
    }  # fmt: skip
    new = jsonable({"settings": signature(learning) | kept, "corpora": corpora})
    path = folder / BOUND_TRANSFER
    old = read_guarded(path, TRANSFER_SHAPE)
    if old is not None:
        changes = [
            change
            for part in ("settings", "corpora")
            for key in sorted(old[part].keys() & new[part].keys())
            for change in _changes(key, old[part][key], new[part][key])
        ]
        if changes:
            raise RunError(
                f"{folder} holds runs of other settings: {listed(changes, CHANGES_SHOWN)}; choose "
                "another output="
            )
        new["corpora"] = old["corpora"] | new["corpora"]
    if new != old:
        write_guarded(path, new)
