"""CUDA graphs of the pretend GPU: operations written down once, then done again where they lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from pretend_tensor import PretendTensor
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_leaves


class PretendGraph:
    """What was recorded. As on CUDA, recording changes nothing and a wait while recording fails."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []
        self.generators = [torch.default_generator]
        self.written: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}  # before it was changed

    def register_generator_state(self, generator: torch.Generator) -> None:
        """Lets the generator draw within the graph."""
        self.generators.append(generator)

    def replay(self) -> None:
        """Does everything again, in the same memory."""
        with torch.no_grad(), torch._C.DisableTorchFunction(), _disable_current_modes():
            for call in self.calls:
                call()

    def write(self, again: Callable[[], Any], out: Any) -> None:
        """Takes down an operation and what it gave."""

        def call() -> None:
            for old, new in zip(tree_leaves(out), tree_leaves(again()), strict=True):
                if isinstance(old, torch.Tensor) and old is not new:
                    old.copy_(new)

        self.calls.append(call)

    def keep_written(self, func: Any, args: tuple, kwargs: dict[str, Any]) -> None:
        """Keeps what an operation is about to change, so that it can be undone."""
        given = dict(zip((a.name for a in func._schema.arguments), args, strict=False)) | kwargs
        for argument in func._schema.arguments:
            if argument.alias_info is None or not argument.alias_info.is_write:
                continue
            for tensor in tree_leaves(given.get(argument.name)):
                if isinstance(tensor, torch.Tensor) and id(tensor) not in self.written:
                    self.written[id(tensor)] = (tensor, tensor.clone())


@contextmanager
def capture(graph: PretendGraph, **_: Any) -> Iterator[None]:
    """Stands in for `torch.cuda.graph`."""
    draws = [generator.get_state() for generator in graph.generators]
    PretendTensor.work.recording = graph
    try:
        yield
    finally:
        PretendTensor.work.recording = None
        with torch.no_grad(), torch._C.DisableTorchFunction(), _disable_current_modes():
            for tensor, value in reversed(graph.written.values()):
                tensor.copy_(value)
        for generator, state in zip(graph.generators, draws, strict=True):
            generator.set_state(state)
