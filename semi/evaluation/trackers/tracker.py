"""The protocol of what shows a run, and the names that things have in every one of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

ROUNDS = "rounds"  # what there is one of per round; its step is the round
PRETRAINING = -1  # number of what comes before all rounds


class Tracker:
    """A place that shows a run; what it has no means for it passes over, as written here.

    A scalar has the same name and step in every place: `oof/macro_f1` at the number of its round,
    `final/oof/macro_f1` of what ships, and `loss/total` at each training step. Steps begin anew in
    each round, so these stand in a curve a round: TensorBoard has them as `loss/total` of its run
    `round-02`, the others as `round-02/loss/total`.

    A method may raise whatever it will: see `Trackers`, which all calls come through.
    """

    def begin_round(self, number: int) -> None:
        """Begins a round, or one that was interrupted afresh: nothing of it stands there twice."""

    def scalars(self, step: int, values: Mapping[str, float], curve: str = ROUNDS) -> None:
        """Adds finite numbers at a step.

        Args:
            step: number of the round, or training step in it.
            values: name -> number.
            curve: ROUNDS, or the `round_name` of the round that the training step belongs to.
        """

    def text(self, step: int, name: str, words: str) -> None:
        """Adds a text of a round."""

    def image(self, step: int, name: str, pixels: np.ndarray) -> None:
        """Adds a picture (height, width, 3) uint8 of a round."""

    def audio(
        self, step: int, name: str, samples: np.ndarray, sample_rate: int, words: str
    ) -> None:
        """Adds a clip (samples,) in [-1, 1] of a round, with a line about it."""

    def histogram(self, step: int, name: str, values: np.ndarray) -> None:
        """Adds how values (N,) of a round are spread."""

    def points(self, step: int, name: str, vectors: np.ndarray, columns: Mapping[str, Any]) -> None:
        """Adds points (N, D) of a round, and columns of N values that say what they are."""

    def band(self, title: str, low: str, middle: str, high: str) -> None:
        """Says that three scalars are one curve and the interval about it, under a title."""

    def end_round(self) -> None:
        """Writes everything of the round out."""

    def settings(self, values: Mapping[str, Any]) -> None:
        """Takes the settings that this run reads."""

    def final(self, step: int, values: Mapping[str, float]) -> None:
        """Adds the scores of what ships, which is round `step`: the run is finished."""

    def close(self, finished: bool) -> None:
        """Ends the work; of a round that is not ended nothing need stay.

        Args:
            finished: the final scores are shown; if not, --resume may go on with the run.
        """


def round_name(number: int) -> str:
    """Returns what a round's own curves are called."""
    return f"round-{number:02d}" if number != PRETRAINING else "pretraining"


def full_name(name: str, curve: str) -> str:
    """Returns the name of a scalar where curves are not kept apart."""
    return name if curve == ROUNDS else f"{curve}/{name}"


def part_name(word: str) -> str:
    """Returns a word of a user's, such as a class, as a part of a name: any tracker takes it.

    MLflow allows letters of any script, digits and `_-. :`, and names its files so.
    """
    plain = re.sub(r"[^\w\-. ]", "_", " ".join(str(word).split()))
    return plain if plain.strip(". ") else plain.replace(".", "_") or "_"


def part_names(words: Iterable[str]) -> list[str]:
    """Returns the words as parts of names, no two of them alike."""
    names: list[str] = []
    for word in words:
        name, count = part_name(word), 2
        while name in names:
            name, count = f"{part_name(word)} {count}", count + 1
        names.append(name)
    return names


def bins_of(values: np.ndarray, chosen: Any = None) -> list[np.ndarray]:
    """Returns how many values in [0, 1], and how many chosen ones, are in each 25th, (25,)."""
    parts = [values] if chosen is None else [values, values[np.asarray(chosen, bool)]]
    return [np.histogram(part, np.linspace(0, 1, 26))[0] for part in parts]
