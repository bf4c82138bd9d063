"""What a shelf lacks is planned, encoded shard by shard and merged; until nothing is missing."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..devices import gpus_of
from ..parallel import EngineConfig, run_cells
from .encode import INPUT_KINDS
from .merge import leftovers
from .progress import Progress
from .quarantine import read_quarantine
from .shard_tasks import LoadedBatch, ShardTask, ShardWriter, batches_of, encode_task, task_of
from .shards import Pending, PlanGone, Worker, begin
from .sources import RowSource
from .store import Shelf, Snapshot

if TYPE_CHECKING:
    from models.encoders import Encoder

AHEAD = 1  # shards decoded while another is encoded


@dataclass
class Hands:
    """Who does the work."""

    threads: int  # that decode, of each process
    engine: EngineConfig = field(default_factory=EngineConfig)
    worker: Worker = field(default_factory=Worker)  # this process, of several that share the work


def fill(
    shelf: Shelf, source: RowSource, encoder: Encoder, hands: Hands, *, progress: bool
) -> Snapshot:
    """Encodes what the shelf lacks of `source`, together with any other workers; returns it full.

    What cannot be encoded is in the shelf's quarantine list afterwards. The encoder is not touched
    when nothing is missing.
    """
    keys, rows = source.first_rows()
    sizes = np.zeros(len(keys))
    snapshot = shelf.open()
    lacking = np.flatnonzero(snapshot.find(keys) < 0)
    if not len(lacking) and not leftovers(shelf) and not (shelf.folder / "pending").exists():
        return snapshot  # nothing to write: a store that may only be read will do
    with ThreadPoolExecutor(hands.threads) as pool:
        sizes[lacking] = list(pool.map(source.size, rows[lacking]))
    settle = getattr(encoder, "settle_layout", None)
    # of several processes each would measure for itself, and rounding tells layouts apart
    if settle and hands.engine.alone and hands.worker.world == 1:
        note = settle(shelf.folder.parent, float(sizes.sum()))
        if note and progress:
            print(f"{shelf.modality}: {note}", file=sys.stderr)
    kind = INPUT_KINDS[source.kind]
    settled: set[str] = set()
    while True:
        pending, snapshot = begin(
            shelf, keys, rows, sizes, lambda total: float(np.clip(total / 64, *kind.shard)), settled
        )
        if pending is None:
            return snapshot
        title = f"extract {shelf.modality}"
        total = float(pending.plan.sizes.sum())
        try:
            with Progress(title, total, kind.unit, show=progress) as bar:
                _work(pending, source, encoder, hands, bar)
            pending.merge()
        except PlanGone:
            pass  # merged by another worker, or taken in tasks: look again at what is missing
        finally:
            pending.give_back()
        settled = set(read_quarantine(shelf))


def _work(
    pending: Pending, source: RowSource, encoder: Encoder, hands: Hands, bar: Progress
) -> None:
    """Encodes shards until all of the plan are finished, by this process or by others."""
    here = hands.engine.alone or source.kind == "array"  # an array is read, not worked out
    while True:
        bar.at(pending.size_done())
        if here:
            _encode_here(pending, source, encoder, hands, bar)
        else:
            _encode_elsewhere(pending, source, encoder, hands, bar)
        if not pending.wait():
            return


def _encode_here(
    pending: Pending, source: RowSource, encoder: Encoder, hands: Hands, bar: Progress
) -> None:
    """Encodes every shard that is free, one after the other.

    The next is decoded meanwhile, and its first batch is on a GPU before it is needed.
    """
    waiting: deque[tuple[ShardTask, Iterable[LoadedBatch]]] = deque()
    pool, stager = ThreadPoolExecutor(hands.threads), ThreadPoolExecutor(1)

    def first() -> None:
        task, batches = waiting.popleft()
        before = pending.size_done()
        shard = encode_task(task, batches, encoder, lambda done: bar.at(before + done))
        pending.finish(task.shard, shard)

    try:
        for number in pending.free(hands.worker):
            task = task_of(pending.plan, number, source)
            loads = task.loads(encoder, pool)
            waiting.append((task, batches_of(task, loads, encoder, stager)))
            if len(waiting) > AHEAD:
                first()
        while waiting:
            first()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        stager.shutdown(wait=True, cancel_futures=True)


def _encode_elsewhere(
    pending: Pending, source: RowSource, encoder: Encoder, hands: Hands, bar: Progress
) -> None:
    """Encodes every shard that is free on other processes or machines, which write the shards."""

    def tasks() -> Iterator[ShardTask]:
        for number in pending.free(hands.worker):
            yield task_of(pending.plan, number, source)

    shelf = pending.shelf
    work = ShardWriter(encoder, pending.folder.absolute(), hands.threads, shelf.remote)
    gpus = gpus_of(getattr(encoder, "device", "cpu"))
    for _, shard in run_cells(hands.engine, work, tasks(), gpus=gpus):
        pending.written(shard)
        bar.at(pending.size_done())
