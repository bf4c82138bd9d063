"""Work shared by any number of processes: fixed shards, leases, and a merge by whoever is last.

A plan follows from the missing items alone, so every worker draws up the same one without talking
to the others, and neither their number nor a kill changes what any shard holds. No process group:
a worker needs the folder and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import StoreError, writing
from .files import Lock
from .keys import KEY
from .merge import Shard, merge, tidy
from .store import Shelf, Snapshot

LEASE_SECONDS = 900.0  # a worker silent for so long is stuck: its shard is given to another
SHARD_ITEMS = 1024


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


@dataclass
class Plan:
    """The missing items in shards of similar work, each sorted by length."""

    keys: np.ndarray  # (K,) S64 in the order of work
    rows: np.ndarray  # (K,) int64, a row of the table that has each item
    sizes: np.ndarray  # (K,) float64
    bounds: np.ndarray  # (S + 1,) int64, where shards begin
    name: str  # follows from the contents

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def items(self, shard: int) -> slice:
        """Returns where a shard's items stand in the arrays."""
        return slice(int(self.bounds[shard]), int(self.bounds[shard + 1]))


def make_plan(keys: np.ndarray, rows: np.ndarray, sizes: np.ndarray, budget: float) -> Plan:
    """Deals items into shards of at most `budget` (in the unit of sizes) and SHARD_ITEMS items."""
    order = np.lexsort((keys, sizes))
    keys, rows, sizes = keys[order], rows[order], sizes[order]
    bounds = cut(sizes, budget, SHARD_ITEMS)
    digest = hashlib.sha256(keys.tobytes() + sizes.tobytes() + bounds.tobytes()).hexdigest()
    return Plan(keys, rows, sizes, bounds, digest[:16])


def cut(sizes: np.ndarray, budget: float, most: int) -> np.ndarray:
    """Returns the bounds of consecutive runs that stay within a budget and a number of items."""
    bounds, total = [0], 0.0
    for i, size in enumerate(sizes):
        if i > bounds[-1] and (total + size > budget or i - bounds[-1] >= most):
            bounds.append(i)
            total = 0.0
        total += size
    return np.array([*bounds, len(sizes)] if len(sizes) else [0], np.int64)


class PlanGone(Exception):
    """Another worker has merged the plan in the meantime."""


class Pending:
    """A plan's folder: finished shards, and leases on those under way."""

    def __init__(self, shelf: Shelf, plan: Plan, lease_seconds: float = LEASE_SECONDS):
        self.shelf = shelf
        self.plan = plan
        self.folder = shelf.folder / "pending" / plan.name
        self.lease_seconds = lease_seconds
        self._leases: dict[int, Lock] = {}

    def path(self, shard: int) -> Path:
        """Returns where a finished shard lies."""
        return self.folder / f"{shard:06d}.npz"

    def done(self) -> list[int]:
        """Returns the numbers of the finished shards; PlanGone when all has been merged."""
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            raise PlanGone from None
        return [int(name[:6]) for name in names if name.endswith(".npz") and name[0] != "."]

    def claim(self, worker: Worker) -> int | None:
        """Returns a shard that is this worker's to do, None if nothing is free at the moment.

        Longest sounds first, so that running out of memory shows early and the ends of all workers
        meet. A dead worker's shard is free at once, a stuck one's after `lease_seconds`.
        """
        taken = {*self.done(), *self._leases}
        start = (worker.rank + 1) * len(self.plan) // worker.world
        for i in range(1, len(self.plan) + 1):
            shard = (start - i) % len(self.plan)
            if shard not in taken and self._lease(shard):
                return shard
        return None

    def finish(self, shard: int, result: Shard) -> None:
        """Writes a finished shard and gives its lease back."""
        try:
            result.save(self.path(shard))
        except FileNotFoundError:
            raise PlanGone from None
        finally:
            self.give_back(shard)

    def beat(self) -> None:
        """Gives a sign of life for every shard under way."""
        for lease in self._leases.values():
            lease.beat()

    def give_back(self, *shards: int) -> None:
        """Frees the leases on these shards, or on all."""
        for shard in shards or list(self._leases):
            lease = self._leases.pop(shard, None)
            if lease is not None:
                lease.free()

    def merge(self) -> None:
        """Moves the finished shards into the store, unless another worker has done so."""
        with self.shelf.locked() as lock:
            if self.folder.exists():
                merge(self.shelf, self.folder.glob("[0-9]*.npz"), lock)
                discard(self.folder)

    def _lease(self, shard: int) -> bool:
        lease = Lock(self.folder / f"{shard:06d}.lease", self.lease_seconds)
        try:
            if not lease.take():
                if not lease.silent():
                    return False
                lease.beat()  # stuck: do its work without the lock; a shard made twice is the same
        except FileNotFoundError:
            raise PlanGone from None
        if self.path(shard).exists():  # finished between the listing and the lease
            lease.free()
            return False
        self._leases[shard] = lease
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
    with shelf.locked() as lock:
        tidy(shelf)
        shelf.describe()
        while True:
            snapshot = shelf.open()
            lacking = snapshot.find(keys) < 0
            if settled:
                lacking &= ~np.isin(keys, np.array(sorted(settled), KEY))
            plan = None
            if lacking.any():
                total = budget(float(sizes[lacking].sum()))
                plan = make_plan(keys[lacking], rows[lacking], sizes[lacking], total)
                if (shelf.folder / "pending" / plan.name).is_dir():
                    break
            if not _harvest(shelf, lock):
                break
        if plan is None:
            return None, snapshot
        pending = Pending(shelf, plan)
        with writing(pending.folder, StoreError):
            pending.folder.mkdir(parents=True, exist_ok=True)
        return pending, snapshot


def finished_keys(shelf: Shelf) -> np.ndarray:
    """Returns the keys (n,) of what workers that were stopped have encoded but not yet merged."""
    found = [np.empty(0, KEY)]
    for folder in sorted((shelf.folder / "pending").glob("*")):
        if any(_at_work(path) for path in folder.glob("*.lease")):
            continue
        for path in sorted(folder.glob("[0-9]*.npz")):
            with (
                contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile),
                open(path, "rb") as file,
                np.load(file, allow_pickle=False) as arrays,
            ):
                found.append(arrays["keys"].astype(KEY))
    return np.concatenate(found)


def _at_work(path: Path) -> bool:
    """Says whether a live worker holds a lease."""
    lease = Lock(path)
    return lease.held_by_other() and not lease.silent()


def discard(folder: Path) -> None:
    """Removes a plan's folder, its name first, so that no other worker mends half of it."""
    trash = folder.parent.parent / f".{folder.name}.{secrets.token_hex(4)}.tmp"
    with writing(folder, StoreError):
        os.replace(folder, trash)
    shutil.rmtree(trash, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.parent.rmdir()


def _harvest(shelf: Shelf, lock: Lock) -> bool:
    """Merges one plan that nobody is working on; returns whether there was one."""
    for folder in sorted((shelf.folder / "pending").glob("*")):
        if any(_at_work(path) for path in folder.glob("*.lease")):
            continue
        merge(shelf, folder.glob("[0-9]*.npz"), lock)
        discard(folder)
        return True
    return False
