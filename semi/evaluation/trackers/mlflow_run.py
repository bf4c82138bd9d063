"""A run in MLflow: its local store, or the server that MLFLOW_TRACKING_URI names."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .tracker import PRETRAINING, ROUNDS, Tracker, full_name, round_name

EXPERIMENT = "semi"  # unless MLFLOW_EXPERIMENT_NAME or MLFLOW_EXPERIMENT_ID names another one
LONGEST = 500  # letters of a setting that a store of any version takes
AT_ONCE = 1000, 100  # metrics and parameters that the store takes in one call
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}


class MlflowTracker(Tracker):
    """One run of MLflow; a round is sent when it is finished, so that no part of it is twice.

    It goes through a client: an active run of the program that calls us is left alone.
    """

    def __init__(self, title: str, run: str = "") -> None:
        """Opens the run of that identifier, or a new one where there is none."""
        from mlflow import MlflowClient  # pyright: ignore[reportMissingImports]

        with _patient():
            self.client = MlflowClient()
            self.run = self._again(run) or self._new(title)
        self._metrics: list[Any] = []
        self._files: list[Callable[[], object]] = []

    def _again(self, run: str) -> str:
        """Returns the identifier of a run that is still there, now running again, or ''."""
        from mlflow.exceptions import MlflowException  # pyright: ignore[reportMissingImports]

        if not run:
            return ""
        try:
            self.client.set_terminated(run, "RUNNING")
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return ""  # of another store, or deleted
            raise
        return run

    def _new(self, title: str) -> str:
        from mlflow.exceptions import MlflowException  # pyright: ignore[reportMissingImports]

        experiment = os.environ.get("MLFLOW_EXPERIMENT_ID", "")
        if not experiment:
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
            found = self.client.get_experiment_by_name(name)
            try:
                experiment = found.experiment_id if found else self.client.create_experiment(name)
            except MlflowException:  # another process made it in between
                found = self.client.get_experiment_by_name(name)
                if found is None:
                    raise
                experiment = found.experiment_id
        return self.client.create_run(experiment, run_name=title).info.run_id

    def begin_round(self, number: int) -> None:
        """Forgets what was not sent of a round that was interrupted."""
        self._metrics, self._files = [], []

    def scalars(self, step: int, values: Mapping[str, float], curve: str = ROUNDS) -> None:
        """Adds metrics."""
        from mlflow.entities import Metric  # pyright: ignore[reportMissingImports]

        now = int(1000 * time.time())
        self._metrics += [Metric(full_name(k, curve), v, now, step) for k, v in values.items()]

    def text(self, step: int, name: str, words: str) -> None:
        """Adds a text file."""
        self._add(lambda path: self.client.log_text(self.run, words, path), step, f"{name}.txt")

    def image(self, step: int, name: str, pixels: np.ndarray) -> None:
        """Adds a PNG file."""
        self._add(lambda path: self.client.log_image(self.run, pixels, path), step, f"{name}.png")

    def audio(
        self, step: int, name: str, samples: np.ndarray, sample_rate: int, words: str
    ) -> None:
        """Adds a WAV file, and the line about it as a text file."""

        def send(path: str) -> None:
            import soundfile

            home, _, file = path.rpartition("/")
            with tempfile.TemporaryDirectory() as folder:
                local = Path(folder, file)
                soundfile.write(local, samples, sample_rate)
                self.client.log_artifact(self.run, str(local), home)

        self._add(send, step, f"{name}.wav")
        if words:
            self.text(step, name, words)

    def end_round(self) -> None:
        """Sends the round; its numbers last."""
        with _patient():
            for send in self._files:
                send()
            for start in range(0, len(self._metrics), AT_ONCE[0]):
                self.client.log_batch(self.run, self._metrics[start : start + AT_ONCE[0]])
        self._metrics, self._files = [], []

    def settings(self, values: Mapping[str, Any]) -> None:
        """Adds the settings as parameters; those of a resumed run are there already."""
        from mlflow.entities import Param  # pyright: ignore[reportMissingImports]

        with _patient():
            known = self.client.get_run(self.run).data.params
            new = [Param(k, str(v)[:LONGEST]) for k, v in values.items() if k not in known]
            for start in range(0, len(new), AT_ONCE[1]):
                self.client.log_batch(self.run, params=new[start : start + AT_ONCE[1]])

    def final(self, step: int, values: Mapping[str, float]) -> None:
        """Adds the scores of what ships."""
        self.scalars(step, values)
        self.end_round()
        self._finished = True

    _finished = False

    def close(self) -> None:
        """Says how the run ended: FINISHED, or KILLED where --resume may go on with it."""
        with _patient():
            self.client.set_terminated(self.run, "FINISHED" if self._finished else "KILLED")

    def _add(self, send: Callable[[str], object], step: int, file: str) -> None:
        path = f"{round_name(step if step >= 0 else PRETRAINING)}/{file}"
        self._files.append(lambda: send(path))


@contextmanager
def _patient() -> Iterator[None]:
    """Lets MLflow ask a server that does not answer a few times, not for minutes.

    A number that the user has set stays.
    """
    mine = {k: v for k, v in PATIENCE.items() if k not in os.environ}
    os.environ.update(mine)
    try:
        yield
    finally:
        for name in mine:
            os.environ.pop(name, None)
