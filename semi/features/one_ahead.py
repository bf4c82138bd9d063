"""An iterator whose next value is made by a thread while the last one is used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import Generic, TypeVar

A = TypeVar("A")
B = TypeVar("B")


class OneAhead(Iterator[B], Generic[A, B]):
    """Yields `make` of each given thing, in order; without an executor it is made when asked for.

    With one the first is under way at once. What `make` raises is raised where its turn comes.
    """

    def __init__(
        self, given: Iterable[A], make: Callable[[A], B], executor: Executor | None = None
    ) -> None:
        self.given, self.make, self.executor = iter(given), make, executor
        self.ahead: Future[B] | None = None
        self._start()

    def __next__(self) -> B:
        if self.executor is None:
            return self.make(next(self.given))
        if self.ahead is None:
            raise StopIteration
        made = self.ahead.result()
        self._start()
        return made

    def _start(self) -> None:
        """Lets the executor make the next value, if there is one."""
        self.ahead = None
        if self.executor is not None:
            for thing in self.given:
                self.ahead = self.executor.submit(self.make, thing)
                return
