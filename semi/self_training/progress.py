"""Bars of a run on stderr: pre-training, then each round's steps and its verdict."""

from __future__ import annotations

from ..config.learning import LearningConfig
from ..features.progress import Progress
from .state import RoundState

FEW_STEPS = 25  # of a round: they are over before a bar says anything


class RoundProgress:
    """One bar per round; plain lines where there is no terminal."""

    def __init__(self, config: LearningConfig, *, show: bool) -> None:
        self.config = config
        self.show = show
        self.number: int | None = None
        self.bar: Progress | None = None

    def step(self, number: int, step: int) -> None:
        """Shows that `step` of a round's training is reached; -1 is pre-training."""
        if self.number != number:
            self.close()
            pre = number == -1
            total = self.config.contrast.pretrain_steps if pre else self.config.train.steps
            title = "contrastive pre-training" if pre else (
                f"round {number}: training" if number else "round 0: warm start"
            )  # fmt: skip
            self.bar = Progress(title, total, "steps", show=self.show and total > FEW_STEPS)
            self.bar.__enter__()
            self.number = number
        if self.bar is not None:
            self.bar.at(step + 1)

    def round(self, state: RoundState) -> None:
        """Closes a round's bar and says what became of it."""
        self.close()
        if self.show:
            import sys

            print(f"round {state.number}: {state.verdict}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Ends the bar that is open, if any."""
        if self.bar is not None:
            self.bar.__exit__(None, None, None)
        self.bar = self.number = None
