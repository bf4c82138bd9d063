"""A run in Weights & Biases: offline, unless WANDB_MODE says otherwise."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from .tracker import ROUNDS, Tracker, full_name, round_name

PROJECT = "semi"  # unless WANDB_PROJECT names another one
OF_ROUNDS = ("oof", "dev", "test", "interval", "round", "pool", "picks", "final")  # by round
SPAN = 1_000_000  # W&B's own steps must rise: so many are left for each round
QUIET = {
    "silent": True,  # semi says what to type next
    "console": "off",  # what a run prints stays here
    "reinit": "create_new",  # an active run of the program that calls us is left alone
    "init_timeout": 30.0,  # seconds
    "finish_timeout": 120.0,  # seconds; what was not sent by then is still on disk
}


class WandbTracker(Tracker):
    """One run of W&B; a round is sent when it is finished, so that no part of it is twice."""

    def __init__(self, title: str, run: str = "") -> None:
        """Opens the run of that identifier, or a new one."""
        import wandb  # pyright: ignore[reportMissingImports]

        self.wandb, self.run_id = wandb, run or secrets.token_hex(4)
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT, name=title, id=self.run_id,
            resume="allow", mode=_mode(wandb), settings=wandb.Settings(**QUIET),
        )  # fmt: skip
        for part in OF_ROUNDS:
            self.run.define_metric(f"{part}/*", step_metric="round", step_sync=False)
        self._rows: dict[int, dict[str, Any]] = {}
        self._summary: dict[str, Any] = {}

    def begin_round(self, number: int) -> None:
        """Forgets what was not sent of a round that was interrupted."""
        self._rows, self._summary = {}, {}
        curve = round_name(number)
        self.run.define_metric(f"{curve}/*", step_metric=f"{curve}/step", step_sync=False)

    def scalars(self, step: int, values: Mapping[str, float], curve: str = ROUNDS) -> None:
        """Adds numbers to the history."""
        if curve == ROUNDS:
            self._row(step).update(values)
        else:
            number = int(curve.rpartition("-")[2]) if "-" in curve else -1
            row = self._rows.setdefault((number + 1) * SPAN + step, {f"{curve}/step": step})
            row.update({full_name(name, curve): value for name, value in values.items()})

    def text(self, step: int, name: str, words: str) -> None:
        """Puts a text into the summary, in place of the last round's."""
        self._summary[name] = words

    def image(self, step: int, name: str, pixels: np.ndarray) -> None:
        """Adds a picture to the history."""
        self._row(step)[name] = self.wandb.Image(pixels)

    def audio(
        self, step: int, name: str, samples: np.ndarray, sample_rate: int, words: str
    ) -> None:
        """Adds a clip to the history."""
        self._row(step)[name] = self.wandb.Audio(samples, sample_rate=sample_rate, caption=words)

    def histogram(self, step: int, name: str, values: np.ndarray) -> None:
        """Adds a histogram to the history."""
        self._row(step)[name] = self.wandb.Histogram(values)

    def end_round(self) -> None:
        """Sends the round."""
        for step in sorted(self._rows):
            self.run.log(self._rows[step], step=step)
        self.run.summary.update(self._summary)
        self._rows, self._summary = {}, {}

    def settings(self, values: Mapping[str, Any]) -> None:
        """Adds the settings to the run's config."""
        self.run.config.update(dict(values), allow_val_change=True)

    def final(self, step: int, values: Mapping[str, float]) -> None:
        """Adds the scores of what ships to the history, and so to the summary."""
        self._row(step, last=True).update(values)
        self.end_round()
        self._finished = True

    _finished = False

    def close(self) -> None:
        """Ends the run; one that --resume may go on with counts as crashed."""
        self.run.finish(exit_code=0 if self._finished else 1)

    def _row(self, number: int, last: bool = False) -> dict[str, Any]:
        """Returns the row of history of a round, which comes after those of its steps."""
        step = SPAN**2 if last else (number + 2) * SPAN - 1
        return self._rows.setdefault(step, {"round": number})


def _mode(wandb: Any) -> Any:
    """Returns the mode to ask for. Nothing ever waits for a key."""
    mode = os.environ.get("WANDB_MODE", "").strip() or "offline"
    if mode in ("online", "shared") and not wandb.login(prompt=False):
        print(
            f"semi: WANDB_MODE is {mode}, but no key of Weights & Biases is found here: the run is "
            "written offline; after wandb login, wandb sync sends it",
            file=sys.stderr, flush=True,
        )  # fmt: skip
        return "offline"
    return mode
