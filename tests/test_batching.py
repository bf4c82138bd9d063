"""The queue of a service: bounded, batched, and no row is lost or waits without an end."""

import asyncio
import threading
import time

import pytest

from semi.serving.batching import Batcher, QueueFull, TooSlow


def doubled(rows):
    return [2 * row for row in rows]


def served(batcher, ask):
    """Runs `ask` beside the batcher and returns what it comes to."""

    async def both():
        worker = asyncio.create_task(batcher.run())
        try:
            return await ask()
        finally:
            worker.cancel()
            batcher.close()

    return asyncio.run(both())


def test_rows_that_come_at_once_are_answered_together_each_with_its_own():
    sizes = []

    def label(rows):
        sizes.append(len(rows))
        return doubled(rows)

    batcher = Batcher(label, places=100, rows=16, pause=0.05)

    async def ask():
        return await asyncio.gather(*(batcher.label([k], seconds=30) for k in range(40)))

    assert served(batcher, ask) == [[2 * k] for k in range(40)]
    assert sum(sizes) == 40 and max(sizes) == 16 and len(sizes) <= 4


def test_one_thread_computes():
    threads = set()

    def label(rows):
        threads.add(threading.get_ident())
        return doubled(rows)

    batcher = Batcher(label, places=9, rows=1, pause=0.0)
    assert served(batcher, lambda: batcher.label(list(range(9)), seconds=30)) == doubled(range(9))
    assert len(threads) == 1 and threading.get_ident() not in threads


def test_a_full_queue_is_told_at_once_and_when_to_come_again():
    go = threading.Event()

    def label(rows):
        go.wait()
        return doubled(rows)

    batcher = Batcher(label, places=4, rows=2, pause=0.0)

    async def ask():
        first = asyncio.create_task(batcher.label([1], seconds=30))
        while not batcher.waiting:
            await asyncio.sleep(0)
        while batcher.waiting:  # it has been taken: the thread is at work
            await asyncio.sleep(0.001)
        rest = asyncio.create_task(batcher.label([2, 3, 4], seconds=30))
        await asyncio.sleep(0.01)
        with pytest.raises(QueueFull) as full:
            await batcher.label([5, 6], seconds=30)
        assert full.value.retry_after >= 1
        last = asyncio.create_task(batcher.label([7], seconds=30))
        await asyncio.sleep(0.01)
        go.set()
        return await asyncio.gather(first, rest, last)

    assert served(batcher, ask) == [[2], [4, 6, 8], [14]]


def test_who_waits_too_long_is_told_and_not_computed_for():
    seen = []
    go = threading.Event()

    def label(rows):
        seen.extend(rows)
        go.wait()
        return doubled(rows)

    batcher = Batcher(label, places=9, rows=1, pause=0.0)

    async def ask():
        first = asyncio.create_task(batcher.label([1], seconds=30))
        while not seen:
            await asyncio.sleep(0.001)
        with pytest.raises(TooSlow):
            await batcher.label([2], seconds=0.02)
        go.set()
        return await first, await batcher.label([3], seconds=30)

    assert served(batcher, ask) == ([2], [6])
    assert seen == [1, 3]


def test_a_row_that_breaks_the_labelling_costs_itself_alone():
    def label(rows):
        if 3 in rows:
            raise RuntimeError("no threes")
        return doubled(rows)

    batcher = Batcher(label, places=9, rows=9, pause=0.02)

    async def ask():
        asked = (batcher.label([k], seconds=30) for k in range(6))
        return await asyncio.gather(*asked, return_exceptions=True)

    found = served(batcher, ask)
    assert [f for k, f in enumerate(found) if k != 3] == [[0], [2], [4], [8], [10]]
    assert isinstance(found[3], RuntimeError)


def test_the_time_to_come_again_follows_what_a_row_takes():
    def label(rows):
        time.sleep(0.02)
        return doubled(rows)

    batcher = Batcher(label, places=100, rows=1, pause=0.0)
    batcher.per_row = 10.0

    async def ask():
        await batcher.label(list(range(60)), seconds=30)
        return batcher.per_row

    assert served(batcher, ask) < 1.0
