"""Cells on a Ray cluster: one actor a worker, a bounded number in flight, the dead replaced."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .errors import SemiError, WorkerLost
from .flight import Flight

DEATHS = 3  # of workers at one cell, then it is the cell's fault
WAIT_SECONDS = 20  # for the head of a cluster to answer
_NONE = object()  # no cell
STORE_BYTES = 200_000_000  # of shared memory, where we start Ray ourselves; cells are small


class Cells:
    """What runs in an actor; the function is fetched once, and again after a restart."""

    function: Any = None

    def run(self, shared: list[Any], folder: str, cell: Any) -> Any:
        """Returns what the function makes of a cell.

        Args:
            shared: holds a reference to the function.
            folder: where the command was given, from which its paths are meant; a cluster's workers
                begin in another.
            cell: what the function takes.
        """
        if self.function is None:
            import ray  # pyright: ignore[reportMissingImports]

            self.function = ray.get(shared[0])
            with contextlib.suppress(OSError):  # not on this machine: absolute paths will do
                os.chdir(folder)
        return self.function(cell)


@dataclass
class Crew:
    """The workers that are asked for."""

    workers: int  # at most; 0 = as many as the cluster has room for
    gpus: float  # of each
    ahead: int  # cells given to each at a time
    waiting: int  # cells a worker that may be away or wait for an earlier one; 0 = any number


def on_ray(
    function: Callable[[Any], Any], cells: Iterable[Any], address: str, crew: Crew
) -> Iterator[tuple[int, Any]]:
    """Yields (number of the cell, its result), in any order.

    Args:
        function: of one cell.
        cells: taken one by one.
        address: of a running cluster; "" = RAY_ADDRESS or a Ray of our own on this machine.
        crew: the workers.
    """
    cells = iter(cells)
    if (first := next(cells, _NONE)) is _NONE:
        return  # nothing to start Ray for
    with cluster(address, crew.workers) as ray:
        places = _places(ray, crew.gpus)  # an actor more than that would wait forever
        count = min(crew.workers, places) if crew.workers else places
        flight = Flight(itertools.chain([first], cells), count * crew.waiting)
        actor = ray.remote(
            num_cpus=1, num_gpus=crew.gpus, max_restarts=-1, max_task_retries=DEATHS
        )(Cells)  # fmt: skip
        shared, folder = ray.put(function), os.getcwd()
        workers = [actor.remote() for _ in range(count)]
        free, flying = deque(workers * crew.ahead), dict[Any, tuple[int, Any]]()

        def give() -> None:
            while free and (following := flight.take()) is not None:
                worker = free.popleft()
                reference = worker.run.remote([shared], folder, following[1])
                flying[reference] = (following[0], worker)

        try:
            give()
            while flying:
                (done,), _ = ray.wait(list(flying), num_returns=1)
                number, worker = flying.pop(done)
                result = _result(ray, done)
                flight.land(number)
                free.append(worker)
                give()
                yield number, result
        finally:
            for worker in workers:
                ray.kill(worker)


def _result(ray: Any, reference: Any) -> Any:
    """Returns a cell's result; the error that the function raised, or WorkerLost."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise (error.cause if isinstance(error.cause, Exception) else error) from None
    except ray.exceptions.RayError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        words = " ... ".join(dict.fromkeys([lines[0], lines[-1]]))[:400]
        raise WorkerLost(
            f"Ray gave up on a piece of work after {DEATHS} tries more, because its worker died "
            f"each time (out of memory, or semi is not installed there?): {words}"
        ) from error


def _places(ray: Any, gpus: float) -> int:
    """Returns how many workers the machines of the cluster have room for; SemiError if for none."""
    there = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cpus = [int(node.get("CPU", 0)) for node in there]
    count = sum(
        min(cpu, int(node.get("GPU", 0) / gpus)) if gpus else cpu
        for cpu, node in zip(cpus, there, strict=True)
    )
    if count < 1:
        raise SemiError(
            f"the Ray cluster has no {'GPU' if gpus else 'CPU'} for a worker; "
            + ("set device=cpu, or join one that has" if gpus else "set ray_address to another")
        )
    return count


def _answers(address: str) -> None:
    """Raises OSError where nobody answers at an address; Ray itself would try for very long."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=WAIT_SECONDS).close()


def _reason(error: Exception) -> str:
    """Returns why Ray cannot be had; a missing token is named, which Ray itself hides."""
    if re.search("AuthenticationError|InvalidAuthToken", f"{error} {error.__cause__}"):
        return (
            "it takes no one without its token; set RAY_AUTH_MODE=token in the environment of this "
            "command, and RAY_AUTH_TOKEN where the cluster was not started by this user here"
        )
    return " ".join(str(error).split())[:300]


@contextlib.contextmanager
def cluster(address: str, workers: int) -> Iterator[Any]:
    """Yields the module ray, connected: to the cluster at an address, or to one of our own."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anybody
    import ray  # pyright: ignore[reportMissingImports]

    if ray.is_initialized():  # the caller's own
        yield ray
        return
    address = address or os.environ.get("RAY_ADDRESS", "")
    own = {"include_dashboard": False, "object_store_memory": STORE_BYTES}
    try:
        if address:
            _answers(address)
            ray.init(address, log_to_driver=False, logging_level="error")
        else:
            ray.init("local", num_cpus=workers or None, log_to_driver=False,
                     logging_level="error", **own)  # fmt: skip
    except (ray.exceptions.RayError, RuntimeError, ValueError, OSError) as error:
        words = _reason(error)
        where = f"the Ray cluster at '{address}' cannot be joined" if address else (
            "Ray cannot be started on this machine"
        )  # fmt: skip
        raise SemiError(f"{where}: {words}; correct ray_address, or set engine=local") from error
    try:
        yield ray
    finally:
        ray.shutdown()
