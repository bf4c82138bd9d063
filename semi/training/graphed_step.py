"""A training step as one CUDA graph: one call starts all its kernels, some hundreds of them.

A step of small members is far shorter than the starting of its kernels one by one. The graph is
recorded after a few plain steps and does what they do, random draws included; its first step is
checked against a plain one. Whatever stands against it, the steps go on one kernel at a time.
"""

from __future__ import annotations

import functools
import sys

import torch
from torch import Tensor

from .training_step import TrainingStep

WARM = 3  # plain steps beforehand: libraries choose kernels and set memory aside. A contrast that
# begins at weight 0 has begun by then, so that the steps of the graph have the same terms
WORTH = 30  # steps; recording a graph for fewer costs more than it saves
CAPABILITY = (7, 0)  # of the oldest cards that current builds of PyTorch support
FAR = 0.05  # of a step's own length may a step of the graph be away from a plain one


class GraphedStep:
    """Does the steps of a fit on a GPU: plain ones first, then those of the graph."""

    def __init__(self, plain: TrainingStep, generator: torch.Generator) -> None:
        self.plain, self.generator = plain, generator
        self.device = plain.at.device
        self.done = 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.parts: dict[str, Tensor] = {}
        self.possible = len(plain.steps.contrasts) >= WORTH
        if self.possible and (reason := self._against()):
            self._give_up(reason)

    def __call__(self, contrasting: bool) -> dict[str, Tensor]:
        """Does a step; returns the parts of its loss. See `TrainingStep`."""
        self.done += 1
        if self.graph is not None:
            self.graph.replay()
            return self.parts
        if not self.possible:
            return self.plain(contrasting)
        if self.done <= WARM:
            return self._aside(contrasting)
        try:
            self._record(contrasting)
        except Exception as error:  # of this GPU or this PyTorch: whatever it is, training goes on
            self._give_up(brief(error))
            return self.plain(contrasting)
        return self._first(contrasting)

    def _against(self) -> str:
        """Returns why no graph is tried, or nothing."""
        capability = torch.cuda.get_device_capability(self.device)
        if capability < CAPABILITY:
            return "the GPU has compute capability {}.{}, below {}.{}".format(
                *capability, *CAPABILITY
            )
        return ""

    def _give_up(self, reason: str) -> None:
        self.graph, self.possible = None, False
        say_once(f"training steps run kernel by kernel, not as a CUDA graph: {reason}")

    def _aside(self, contrasting: bool) -> dict[str, Tensor]:
        """Does a plain step on a stream of its own, as recording asks for."""
        here, side = torch.cuda.current_stream(self.device), torch.cuda.Stream(self.device)
        side.wait_stream(here)
        with torch.cuda.stream(side):
            parts = self.plain(contrasting)
        here.wait_stream(side)
        return parts

    def _record(self, contrasting: bool) -> None:
        """Records the graph; nothing is computed, so the state of training stays as it is."""
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.generator)
        self.plain.optimizer.zero_grad()
        # threads that decode sounds may use the GPU meanwhile
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self.parts = self.plain(contrasting)
        self.graph = graph

    def _first(self, contrasting: bool) -> dict[str, Tensor]:
        """Does the first step of the graph, and before it the same step plainly to compare.

        Where they differ the plain one counts, and all that follow are plain.
        """
        before, draws = self._state(), self._draws()
        parts = {name: value.clone() for name, value in self.plain(contrasting).items()}
        plainly, drawn = self._state(), self._draws()
        try:
            self._restore(before, draws)
            assert self.graph is not None
            self.graph.replay()
            params = slice(1, 1 + len(self.plain.params))
            apart, length = (
                sum((a - b).abs().double().sum() for a, b in zip(x[params], y[params], strict=True))
                for x, y in ((self._state(), plainly), (plainly, before))
            )
            if bool(apart <= FAR * length):  # not where one of them is no number
                return self.parts
            reason = "its first step came out otherwise than the plain one"
        except Exception as error:
            reason = brief(error)
        self._restore(plainly, drawn)
        self._give_up(reason)
        return parts

    def _state(self) -> list[Tensor]:
        return [tensor.clone() for tensor in self.plain.state()]

    def _draws(self) -> list[Tensor]:
        return [self.generator.get_state(), torch.cuda.get_rng_state(self.device)]

    def _restore(self, state: list[Tensor], draws: list[Tensor]) -> None:
        for tensor, value in zip(self.plain.state(), state, strict=True):
            tensor.copy_(value)
        self.generator.set_state(draws[0])
        torch.cuda.set_rng_state(draws[1], self.device)


def brief(error: Exception) -> str:
    """Returns an error in one line."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


@functools.cache
def say_once(sentence: str) -> None:
    """Says a sentence on stderr, the first time it is given."""
    print(sentence, file=sys.stderr, flush=True)
