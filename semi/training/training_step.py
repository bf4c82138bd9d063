"""One step of a fit as a function of nothing but tensors that stay where they are.

Its number, parameters, moments and tables lie on the device; a call reads and writes them in place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from .optim import MemberAdamW, clip_members
from .steps import Steps


@dataclass
class TrainingStep:
    """The step: batch, loss, gradient, clipping, update, and its number one higher."""

    steps: Steps
    loss: Callable[..., tuple[Tensor, dict[str, Tensor]]]  # of params, buffers, batch, taught
    params: dict[str, Tensor]  # name -> (E, ...), leaves
    buffers: dict[str, Tensor]
    optimizer: MemberAdamW
    clip: float  # 0 = none
    at: Tensor  # (1,) int64 number of the next step

    def __call__(self, contrasting: bool) -> dict[str, Tensor]:
        """Does a step; returns the parts of its loss, (E,) each. See `Steps.batch`."""
        batch, taught = self.steps.batch(self.at, contrasting)
        loss, parts = self.loss(self.params, self.buffers, batch, taught)
        self.optimizer.zero_grad()
        loss.sum().backward()
        if self.clip > 0:
            grads = [p.grad for p in self.params.values() if p.grad is not None]
            clip_members(grads, self.clip)
        self.optimizer.step(self.at)
        self.at.add_(1)
        return {name: value.detach() for name, value in parts.items()}

    def now(self) -> dict[str, Tensor]:
        """Returns the parameters as they are now, without gradients."""
        return {name: value.detach() for name, value in self.params.items()}

    def state(self) -> list[Tensor]:
        """Returns every tensor that a step changes."""
        moments = [m for pair in self.optimizer.state.values() for m in pair]
        counts = [n for counts in self.optimizer.steps.values() for n in counts]
        return [self.at, *self.now().values(), *moments, *counts]
