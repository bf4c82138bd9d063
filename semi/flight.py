"""Cells on their way: which one is given out next, and results put back in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any


class Flight:
    """Gives out cells with their numbers, and no further ahead than is allowed.

    Expected usage:

        flight = Flight(cells, most=8)
        number, cell = flight.take()
        flight.land(number)
    """

    def __init__(self, cells: Iterable[Any], most: int = 0) -> None:
        """Takes nothing of the cells yet.

        Args:
            cells: taken one by one.
            most: a cell is not given out before the one `most` cells earlier is back; 0 = always.
        """
        self._cells, self._most = enumerate(cells), most
        self._given, self._away = 0, set[int]()

    def take(self) -> tuple[int, Any] | None:
        """Returns the next number and cell; None where there is none, or none may go yet."""
        if self._most and self._given - min(self._away, default=self._given) >= self._most:
            return None
        following = next(self._cells, None)
        if following is not None:
            self._given += 1
            self._away.add(following[0])
        return following

    def land(self, number: int) -> None:
        """Notes that a cell is back."""
        self._away.discard(number)


def in_order(results: Iterable[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    """Yields (number, result) by number; results of any order, each number 0, 1, ... once."""
    waiting, following = dict[int, Any](), 0
    for number, result in results:
        waiting[number] = result
        while following in waiting:
            yield following, waiting.pop(following)
            following += 1
