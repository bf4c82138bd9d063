"""Clocks of benchmarks/gpu.py: what a part is given, the time it has, and how a run is timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass
class Settings:
    """What is measured, and where."""

    device: torch.device
    small: bool  # sizes of a test
    models: list[str]  # folders or names of real encoders
    found: dict[str, float] = field(default_factory=dict)  # precision -> operations a second


class Clock:
    """The time that a part has."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds

    def left(self) -> float:
        """Returns the seconds that are left."""
        return self.end - time.monotonic()


def timed(run: Callable[[], Any], settings: Settings, clock: Clock, most: float = 1.0) -> float:
    """Returns the mean seconds of a run over as many as `most` seconds hold, 20 at most.

    The first run is not counted.
    """
    run()
    wait(settings.device)
    most = 0.0 if settings.small else min(most, clock.left())
    began, count = time.perf_counter(), 0
    while count < 1 or (count < 20 and time.perf_counter() - began < most):
        run()
        wait(settings.device)
        count += 1
    return (time.perf_counter() - began) / count


def wait(device: torch.device) -> None:
    """Waits until the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
