"""Streams of the pretend GPU: what one has made, another may use only once it has waited for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from pretend_tensor import CUDA, PretendTensor


class Stream:
    """A queue of work; `behind` are the streams it has waited for."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.device = CUDA
        self.behind: set[Stream] = {self}

    def wait_stream(self, other: Stream) -> None:
        """Orders this stream behind another on the device: the host does not wait."""
        self.behind |= other.behind

    def wait_event(self, event: Event) -> None:
        """Orders this stream behind a mark on the device: the host does not wait."""
        self.behind |= event.behind

    def record_event(self, event: Event | None = None) -> Event:
        """Returns a mark behind what this stream has been given."""
        event = event or Event()
        event.behind = set(self.behind)
        return event

    def query(self) -> bool:
        """Returns whether all is done."""
        return True

    def synchronize(self) -> None:
        """Lets the host wait."""
        PretendTensor.work.wait("synchronize")


class Event:
    """A mark in a stream."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.behind: set[Stream] = set()

    def record(self, stream: Stream | None = None) -> None:
        """Marks where the stream stands."""
        (stream or current_stream()).record_event(self)

    def wait(self, stream: Stream | None = None) -> None:
        """Orders a stream behind the mark."""
        (stream or current_stream()).wait_event(self)

    def query(self) -> bool:
        """Returns whether all before it is done."""
        return True

    def synchronize(self) -> None:
        """Lets the host wait."""
        PretendTensor.work.wait("synchronize")

    def elapsed_time(self, end: Event) -> float:
        """Returns milliseconds."""
        return 1.0


DEFAULT = Stream()
_now = threading.local()


def current_stream(*_: Any) -> Stream:
    """Returns the stream that this thread gives work to."""
    return getattr(_now, "stream", DEFAULT)


@contextmanager
def stream(of: Stream) -> Iterator[None]:
    """Gives the work of a block to a stream."""
    before = current_stream()
    _now.stream = of
    try:
        yield
    finally:
        _now.stream = before


def stream_stand_ins() -> list[tuple[Any, str, Callable]]:
    """Returns owner, name and stand-in of what handles streams."""
    return [
        (torch.cuda, "Stream", Stream),
        (torch.cuda, "Event", Event),
        (torch.cuda, "current_stream", current_stream),
        (torch.cuda, "stream", stream),
        (torch.Tensor, "record_stream", lambda tensor, of: None),
        (PretendTensor, "stream_of_this_thread", staticmethod(current_stream)),
    ]
