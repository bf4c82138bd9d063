"""Requests that come at once are labelled together: a bounded queue, and one thread that computes.

Whoever finds the queue full is told at once when to come again; nothing waits without an end.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

Row = TypeVar("Row")
Said = TypeVar("Said")


class QueueFull(Exception):
    """Nothing more can wait."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("the queue is full")
        self.retry_after = retry_after  # seconds


class TooSlow(Exception):
    """A row was not labelled in time."""


@dataclass
class Waiting(Generic[Row, Said]):
    """A row in the queue, and where its answer goes."""

    row: Row
    answer: asyncio.Future[Said]


class Batcher(Generic[Row, Said]):
    """Labels rows in batches of what is waiting.

    Expected usage:

        batcher = Batcher(labeller.label, places=64, rows=16, pause=0.004)
        worker = asyncio.create_task(batcher.run())
        answers = await batcher.label([row, row], seconds=30.0)
    """

    def __init__(
        self, label: Callable[[Sequence[Row]], list[Said]], *, places: int, rows: int, pause: float
    ) -> None:
        """Starts nothing yet.

        Args:
            label: answers some rows; called in one thread alone.
            places: rows that may wait.
            rows: labelled together, at most.
            pause: seconds that are waited for more rows while fewer have come.
        """
        self._label, self.places, self.rows, self.pause = label, places, rows, pause
        self._queue: asyncio.Queue[Waiting[Row, Said]] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="labels")
        self.per_row = 0.05  # seconds, a mean of late: what a full queue promises comes from it
        self.on_batch: Callable[[int, float], None] = lambda rows, seconds: None

    @property
    def waiting(self) -> int:
        """How many rows wait."""
        return self._queue.qsize()

    def room(self, rows: int = 1) -> None:
        """Raises QueueFull unless so many more rows may wait."""
        if self.waiting + rows > self.places:
            raise QueueFull(max(1, math.ceil(self.waiting * self.per_row)))

    async def label(self, rows: Sequence[Row], *, seconds: float) -> list[Said]:
        """Returns the answers to some rows; QueueFull, or TooSlow after so many seconds."""
        self.room(len(rows))
        loop = asyncio.get_running_loop()
        waiting = [Waiting(row, loop.create_future()) for row in rows]
        for one in waiting:
            self._queue.put_nowait(one)
        answers = asyncio.gather(*(one.answer for one in waiting))
        try:  # a row whose client has gone, or waited too long, is passed over: its future is done
            return list(await asyncio.wait_for(answers, seconds))
        except asyncio.TimeoutError:
            raise TooSlow from None

    async def run(self) -> None:
        """Labels what comes, until it is cancelled."""
        while True:
            batch = [await self._queue.get()]
            if self.waiting + 1 < self.rows:
                await asyncio.sleep(self.pause)
            while len(batch) < self.rows and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            batch = [one for one in batch if not one.answer.done()]
            if batch:
                await self._answer(batch)

    async def _answer(self, batch: list[Waiting[Row, Said]]) -> None:
        begun = time.perf_counter()
        loop = asyncio.get_running_loop()
        try:
            rows = [one.row for one in batch]
            answers = await loop.run_in_executor(self._thread, self._label, rows)
        except Exception as error:
            if len(batch) > 1:  # one row's fault is to cost that row alone
                for one in batch:
                    await self._answer([one])
            elif not batch[0].answer.done():
                batch[0].answer.set_exception(error)
            return
        took = time.perf_counter() - begun
        self.per_row += 0.1 * (took / len(batch) - self.per_row)
        self.on_batch(len(batch), took)
        for one, answer in zip(batch, answers, strict=True):
            if not one.answer.done():
                one.answer.set_result(answer)

    def close(self) -> None:
        """Ends the thread when what it computes is done."""
        self._thread.shutdown(wait=True, cancel_futures=True)
