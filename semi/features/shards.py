"""Work shared by any number of processes: fixed shards, a lock each, a merge by whoever is last.

A plan follows from the missing items alone, so every worker draws up the same one without talking
to the others, and neither their number nor a kill changes what any shard holds. A finished shard is
a file. No process group: a worker needs the folder and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import StoreError, writing
from ..locks import FileLock, taken
from .harvest import fetch, harvest, take_in
from .keys import KEY
from .merge import Shard, merge
from .parts import tidy
from .plan import Plan, make_plan
from .remote_copy import is_divided
from .snapshot import Snapshot
from .store import Shelf

BEGUN = "begun"  # an empty file of a plan's folder, as long as the plan is not merged
LOOK_SECONDS = 5.0  # between two looks at what other workers have finished


@dataclass
class Worker:
    """Which of how many independent processes this one is; it only spreads out who starts where."""

    rank: int = 0
    world: int = 1


def worker_from_environment() -> Worker:
    """Returns the place given by torchrun (RANK), a SLURM step or a SLURM array; else 0 of 1."""
    names = (
        ("RANK", "WORLD_SIZE", ""),
        ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN"),
        ("SLURM_PROCID", "SLURM_NTASKS", ""),
    )
    for rank, world, first in names:
        try:
            of = int(os.environ[world])
            at = int(os.environ[rank]) - int(os.environ.get(first, 0))
        except (KeyError, ValueError):
            continue
        if of > 1 and at >= 0:
            return Worker(at % of, of)
    return Worker()


def shard_path(folder: Path, shard: int) -> Path:
    """Returns where a finished shard of a plan lies."""
    return folder / f"{shard:06d}.npz"


class PlanGone(Exception):
    """Another worker has merged the plan in the meantime."""


class Pending:
    """A plan's folder: finished shards, and locks on those under way."""

    def __init__(self, shelf: Shelf, plan: Plan):
        self.shelf = shelf
        self.plan = plan
        self.folder = shelf.folder / "pending" / plan.name
        self.weights = np.add.reduceat(plan.sizes, plan.bounds[:-1])  # of each shard
        self._locks: dict[int, FileLock] = {}
        self._finished = np.zeros(len(plan), bool)  # as of the last look, and our own since
        self._looked = -np.inf

    def path(self, shard: int) -> Path:
        """Returns where a finished shard lies."""
        return shard_path(self.folder, shard)

    def done(self) -> list[int]:
        """Returns the numbers of the finished shards; PlanGone when all has been merged."""
        if not (self.folder / BEGUN).exists():
            raise PlanGone
        numbers = [int(path.name[:6]) for path in self.folder.glob("[0-9]*.npz")]
        self._finished[numbers] = True
        self._looked = time.monotonic()
        return numbers

    def size_done(self) -> float:
        """Returns the size of all finished shards, in the unit of the plan's sizes.

        Of other workers as they were some seconds ago: to look costs time that grows with shards.
        """
        if time.monotonic() > self._looked + LOOK_SECONDS:
            self.done()
        return float(self.weights[self._finished].sum())

    def free(self, worker: Worker) -> Iterator[int]:
        """Yields the shards that nobody has done or is doing, each locked when it is yielded.

        Longest sounds first, so that running out of memory shows early and the ends of all workers
        meet.
        """
        start = (worker.rank + 1) * len(self.plan) // worker.world
        done = set(self.done())
        for i in range(1, len(self.plan) + 1):
            shard = (start - i) % len(self.plan)
            if shard not in done and self._take(shard):
                yield shard

    def wait(self) -> bool:
        """Returns False when all is finished; else waits until another worker ends or dies."""
        lacking = sorted({*range(len(self.plan))}.difference(self.done()), reverse=True)
        if not lacking:
            return False
        if self._take(lacking[0], wait=True):  # its worker died
            self.give_back(lacking[0])
        return True

    def finish(self, shard: int, result: Shard) -> None:
        """Writes a finished shard and frees its lock; PlanGone when all has been merged."""
        try:
            result.save(self.path(shard))
        except FileNotFoundError:
            raise PlanGone from None
        if self.shelf.remote is not None:
            self.shelf.remote.put_shard(self.path(shard))
        self.written(shard)

    def written(self, shard: int) -> None:
        """Frees the lock of a shard whose file is there, and takes it away: nobody needs it now."""
        if self.shelf.remote is not None and not self.path(shard).exists():
            self.shelf.remote.get_shards(self.folder, self.path(shard).name)  # of another machine
        self._finished[shard] = True
        self.give_back(shard)
        with contextlib.suppress(OSError):
            self._lock_path(shard).unlink()

    def give_back(self, *shards: int) -> None:
        """Frees the locks of these shards, or of all."""
        for shard in shards or list(self._locks):
            lock = self._locks.pop(shard, None)
            if lock is not None:
                lock.release()

    def merge(self) -> None:
        """Moves the finished shards into the store, unless another worker has done so."""
        with self.shelf.locked():
            if self.folder.exists():
                take_in(self.shelf, self.folder)

    def _lock_path(self, shard: int) -> Path:
        return self.folder / f"{shard:06d}.lock"

    def _take(self, shard: int, *, wait: bool = False) -> bool:
        """Locks a shard that is not finished and returns whether that could be; PlanGone."""
        try:
            lock = taken(self._lock_path(shard), wait=wait)
        except FileNotFoundError:  # merged while the lock's file was being made
            raise PlanGone from None
        if lock is None:
            return False
        if not (self.folder / BEGUN).exists():  # merged just now, and our lock made the folder anew
            lock.release()
            shutil.rmtree(self.folder, ignore_errors=True)
            raise PlanGone
        if self.path(shard).exists():  # finished between the listing and the lock
            lock.release()
            return False
        self._locks[shard] = lock
        return True


def begin(
    shelf: Shelf,
    keys: np.ndarray,
    rows: np.ndarray,
    sizes: np.ndarray,
    budget: Callable[[float], float],
    settled: set[str],
) -> tuple[Pending | None, Snapshot]:
    """Returns the work that is missing (None if nothing) and what the shelf holds now.

    `keys` (K,) are wanted, `settled` ones are not tried again. Leftovers of killed processes with
    other plans are taken into the store first; a plan that is under way is joined.
    """
    with shelf.locked():
        tidy(shelf.folder)
        shelf.describe()
        there: list[str] | None = None  # plans with shards on the object store
        while True:
            snapshot = shelf.open()
            lacking = snapshot.find(keys) < 0
            if settled:
                lacking &= ~np.isin(keys, np.array(sorted(settled), KEY))
            plan = None
            if lacking.any():
                total = budget(float(sizes[lacking].sum()))
                plan = make_plan(keys[lacking], rows[lacking], sizes[lacking], total)
                if there is None:
                    there = fetch(shelf, but=plan.name)
                begun = (shelf.folder / "pending" / plan.name / BEGUN).exists()
                if begun or plan.name in there:
                    break
            if not harvest(shelf):
                break
        if plan is None:
            if shelf.remote is not None and is_divided(shelf.remote):
                snapshot = merge(shelf, [])
            return None, snapshot
        pending = Pending(shelf, plan)
        with writing(pending.folder, StoreError):
            pending.folder.mkdir(parents=True, exist_ok=True)
            (pending.folder / BEGUN).touch()
            if shelf.remote is not None:
                shelf.remote.get_shards(pending.folder)
        return pending, snapshot
