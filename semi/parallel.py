"""Cells: pieces of work that know nothing of each other, here, in processes or on a Ray cluster.

Only the caller writes what comes of them, unless a cell is a file of its own.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any

from .errors import ConfigError, WorkerLost, how_to_install
from .flight import Flight, in_order
from .threads import limited_threads

ENGINES = ("local", "ray")
AHEAD = 2  # cells given to a worker at a time: the one at work, and the one that comes next
WAITING = 4  # cells a worker that may be given out and not yet yielded, where they keep their order


@dataclass
class EngineConfig:
    """Where pieces of work are done that know nothing of each other."""

    engine: str = "local"
    """local | ray (extra ray; without an address a Ray of its own on this machine)."""
    ray_address: str = ""
    """Of a running Ray cluster: auto, host:6379 or ray://host:10001; '' = RAY_ADDRESS, if set."""
    processes: int = 0
    """Workers; 0 = local: this process alone; ray: one for each GPU (or CPU) of the cluster."""

    def __post_init__(self) -> None:
        """Raises ValueError naming the first setting that is not allowed."""
        if self.engine not in ENGINES:
            raise ValueError(f"engine must be {' or '.join(ENGINES)}, got '{self.engine}'")
        if self.ray_address and self.engine != "ray":
            raise ValueError(
                f"ray_address '{self.ray_address}' is for engine=ray, engine is '{self.engine}'"
            )
        if self.processes < 0:
            raise ValueError(f"processes must be >= 0, got {self.processes}")

    @property
    def alone(self) -> bool:
        """Says whether all is done in this process."""
        return self.engine == "local" and self.processes < 2


def connected(engine: EngineConfig) -> AbstractContextManager[object]:
    """Keeps one connection to Ray for several calls of `run_cells` in a `with` block."""
    if engine.engine != "ray":
        return nullcontext()
    _find_ray()
    from .ray_cells import cluster

    return cluster(engine.ray_address, engine.processes)


def missing_ray() -> str:
    """Returns that Ray is not installed here and how to get it, or ''."""
    if find_spec("ray") is not None:
        return ""
    remedy = how_to_install("ray")
    return f"ray needs a library that is not installed here: {remedy}, or set engine=local"


def _find_ray() -> None:
    """Raises ConfigError where the library is not installed."""
    if missing := missing_ray():
        raise ConfigError(f"engine: {missing}")


def run_cells(
    engine: EngineConfig,
    function: Callable[[Any], Any],
    cells: Iterable[Any],
    *,
    gpus: float = 0.0,
    ordered: bool = False,
) -> Iterator[tuple[int, Any]]:
    """Yields (number of the cell, what `function` returned for it), in any order.

    Args:
        engine: where; on this machine a worker's death ends it all, on Ray its cells are run again.
        function: of one cell; sent to each worker once, so both must be picklable.
        cells: taken one by one as workers come free, never more than two a worker.
        gpus: of each worker on Ray.
        ordered: in the order of the cells; about four a worker, and never more than six, are on
            their way or wait for an earlier one.
    """
    results = _results(engine, function, cells, gpus, WAITING if ordered else 0)
    return in_order(results) if ordered else results


def _results(
    engine: EngineConfig, function: Callable[[Any], Any], cells: Iterable[Any], gpus: float,
    waiting: int,
) -> Iterator[tuple[int, Any]]:  # fmt: skip
    """Yields what `run_cells` does, in any order; `waiting` cells a worker (0 = any number)."""
    if engine.engine == "ray":
        _find_ray()
        from .ray_cells import Crew, on_ray

        return on_ray(
            function, cells, engine.ray_address, Crew(engine.processes, gpus, AHEAD, waiting)
        )
    if engine.alone:
        return ((number, function(cell)) for number, cell in enumerate(cells))
    return _in_processes(engine.processes, function, cells, waiting)


def _in_processes(
    count: int, function: Callable[[Any], Any], cells: Iterable[Any], waiting: int
) -> Iterator[tuple[int, Any]]:
    """Yields what `run_cells` does, worked out in processes of this machine."""
    flight, flying = Flight(cells, count * waiting), dict[Future, int]()
    threads = max(1, (os.cpu_count() or 1) // count)
    pool = ProcessPoolExecutor(  # spawn: a forked PyTorch hangs in its threads
        count, get_context("spawn"), _begin, (pickle.dumps(function), threads)
    )

    def fill() -> None:
        while len(flying) < AHEAD * count and (following := flight.take()) is not None:
            flying[pool.submit(_run, following[1])] = following[0]

    try:
        fill()
        while flying:
            for done in wait(flying, return_when=FIRST_COMPLETED).done:
                number, result = flying.pop(done), done.result()
                flight.land(number)
                fill()
                yield number, result
    except BrokenProcessPool as error:
        raise WorkerLost(
            "a worker process ended in the middle of its work: killed, out of memory, or a script "
            'without `if __name__ == "__main__":`',
            "with fewer processes if memory was short",
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_function: Callable[[Any], Any]  # of this worker process, set once when it begins
_threads = 1


def _begin(pickled: bytes, threads: int) -> None:
    global _function, _threads
    _function, _threads = pickle.loads(pickled), threads
    Thread(target=_end_with_the_driver, daemon=True).start()


def _end_with_the_driver() -> None:
    """Ends this worker when its driver has been killed: it would wait for cells for ever."""
    driver = parent_process()
    if driver is not None:
        driver.join()
        os._exit(1)


def _run(cell: Any) -> Any:
    with limited_threads(_threads):
        return _function(cell)
