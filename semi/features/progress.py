"""How far an extraction is: a bar with the time left, or plain lines where no screen is.

A notebook has a bar too, drawn by rich in a widget; without ipywidgets it gets the plain lines.
"""

from __future__ import annotations

import sys
import time
from importlib.util import find_spec
from typing import TextIO

EVERY_SECONDS = 15.0  # between plain lines, at the least
EVERY_SHARE = 0.05


class Progress:
    """Counts work in the unit of its length (seconds of sound, characters of text)."""

    def __init__(
        self, title: str, total: float, unit: str, *, show: bool, out: TextIO | None = None
    ):
        self.title, self.total, self.unit = title, total, unit
        self.done = 0.0
        self.out = out or sys.stderr
        self.show = show and total >= 1
        self._began = self._spoke = time.monotonic()
        self._first: float | None = None
        self._said = 0.0
        self._bar = None

    def __enter__(self) -> Progress:
        if self.show and (self.out.isatty() or _draws_widgets()):
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed:,.0f}/{task.total:,.0f} " + self.unit),
                TimeRemainingColumn(),
                TextColumn("{task.fields[rate]}"),
                console=Console(file=self.out),
            )
            self._bar.start()
            self._task = self._bar.add_task(self.title, total=self.total, rate="")
        elif self.show:
            self._line(f"{self.title}: {self.total:,.0f} {self.unit} to do")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif self.show and self.done >= self.total:
            took = time.monotonic() - self._began
            self._line(f"{self.title}: {self.done:,.0f} {self.unit} done in {took:.1f} s")

    def at(self, done: float) -> None:
        """Shows that `done` of the total is finished, by this process or by others."""
        self.done = min(max(self.done, done), self.total)
        if not self.show:
            return
        if self._first is None:
            self._first = done  # what was there before is not this run's speed
        now = time.monotonic()
        rate = (self.done - self._first) / max(now - self._began, 1e-9)
        if self._bar is not None:
            words = f"{rate:,.0f} {self.unit}/s" if rate else ""
            self._bar.update(self._task, completed=self.done, rate=words)
        elif (
            now - self._spoke >= EVERY_SECONDS
            and self.done - self._said >= EVERY_SHARE * self.total
        ):
            self._spoke, self._said = now, self.done
            left = f", about {(self.total - self.done) / rate:,.0f} s left" if rate else ""
            share = 100 * self.done / self.total
            self._line(
                f"{self.title}: {self.done:,.0f} of {self.total:,.0f} {self.unit} "
                f"({share:.0f} %){left}"
            )

    def _line(self, words: str) -> None:
        print(words, file=self.out, flush=True)


def _draws_widgets() -> bool:
    """Says whether this is a notebook that rich can draw a bar in; it needs ipywidgets for it."""
    if "IPython" not in sys.modules or find_spec("ipywidgets") is None:
        return False
    from rich.console import Console

    return Console().is_jupyter
