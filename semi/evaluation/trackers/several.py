"""All trackers of a run as one: each thing is made once, goes to all, and none stops the run."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import figures
from .kept import Kept
from .sampling import drawn_of, sample
from .tracker import PRETRAINING, Tracker, bins_of, part_names, round_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLES = {"tensorboard": "TensorBoard", "mlflow": "MLflow", "wandb": "Weights & Biases"}
SPREAD_VALUES = 100_000  # values that a tracker's own histogram is made of, at most
SEEN = 0.02  # a difference of a share, of 1, that a picture shows: some eight pixels


class Trackers:
    """What shows a run. A tracker that fails is left out from then on, with one sentence.

    A picture is drawn where what it shows has changed, by two hundredths, since it was last drawn.

    Expected usage:

        trackers = open_trackers(["tensorboard", "mlflow"], run.path, "demo")
        trackers.begin_round(0)
        trackers.step(25, {"loss/total": 1.2, "contrast/speech-text": 3.4, "lr": 2e-3})
        trackers.scalars({"oof/macro_f1": 0.61, "test/waf": 0.58})
        trackers.confusion("oof/confusion", matrix, classes)
        trackers.end_round()
        trackers.final(0, {"oof/macro_f1": 0.61})
        trackers.close()
    """

    def __init__(self, trackers: Mapping[str, Tracker], kept: Kept) -> None:
        self.at_work = dict(trackers)
        self.kept = kept
        self.number: int | None = None  # of the round that is open
        self._now: list[str] = []  # the trackers it is shown in
        self._drawn: dict[str, Any] = {}  # picture -> what it was drawn of

    def __bool__(self) -> bool:
        """True while there is a tracker that works."""
        return bool(self.at_work)

    # --- rounds ---

    def begin_round(self, number: int) -> None:
        """Begins round `number` afresh in all trackers and forgets every later one."""
        if self.number == PRETRAINING:
            self.end_round()
        self.number, self._now = number, list(self.at_work)
        for name in self._now:
            earlier = [n for n in self.kept.rounds(name) if n < number]
            self.kept.keep(name, rounds=earlier)
        self._each(lambda tracker: tracker.begin_round(number))

    def lacking(self, number: int) -> bool:
        """Says whether a tracker lacks a finished round, which is then open in these alone."""
        names = [n for n in self.at_work if number not in self.kept.rounds(n)]
        if names:
            self.number, self._now = number, names
            self._drawn.clear()
            self._each(lambda tracker: tracker.begin_round(number))
        return bool(names)

    def end_round(self) -> None:
        """Writes everything of the round out."""
        number = self.number
        if number is None:
            return
        self._each(lambda tracker: tracker.end_round())
        for name in self._shown():
            self.kept.keep(name, rounds=[*self.kept.rounds(name), number])
        self.number, self._now = None, []
        self._remember()

    # --- what a round shows ---

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """Adds the values of one training step: losses, each pair's loss, learning rate."""
        found, curve = _finite(values), round_name(self.number or 0)
        self._each(lambda tracker: tracker.scalars(step, found, curve))

    def scalars(self, values: Mapping[str, float | None]) -> None:
        """Adds the round's numbers; what is unknown is left out."""
        found = _finite(values)
        self._of_round(lambda tracker, number: tracker.scalars(number, found))

    def by_class(self, name: str, classes: Sequence[str], values: Sequence[float | None]) -> None:
        """Adds one number a class, such as `oof/f1/anger`."""
        names = [f"{name}/{part}" for part in part_names(classes)]
        self.scalars(dict(zip(names, values, strict=True)))

    def intervals(self, part: str, ends: Mapping[str, tuple[float, float]], words: str) -> None:
        """Adds the intervals of the round's scores, and in words what they are over.

        They are scalars of their own, `interval/<part>/<score>_low` and `_high`.
        """
        known = {name: both for name, both in ends.items() if all(map(math.isfinite, both))}
        for name, both in known.items():
            low, high = (f"interval/{part}/{name}_{end}" for end in ("low", "high"))
            self.scalars({low: both[0], high: both[1]})
            self._band(f"{part}/{name}", low, high)
        if known:
            self.text(f"interval/{part}", words)

    def text(self, name: str, words: str) -> None:
        """Adds a text."""
        self._of_round(lambda tracker, number: tracker.text(number, name, words))

    def calibration(self, name: str, bins: Sequence[Mapping], ece: float | None = None) -> None:
        """Adds the reliability diagram of bins with `confidence`, `accuracy` and `rows`."""
        confidence, accuracy, rows = (
            [b[k] for b in bins] for k in ("confidence", "accuracy", "rows")
        )

        def draw() -> Figure:
            return figures.reliability(confidence, accuracy, rows, ece)

        self.picture(name, draw, [confidence, accuracy, rows, ece])

    def confidences(self, name: str, values: Any, chosen: Any = None) -> None:
        """Adds the histogram of confidences, and the picture with the chosen rows marked.

        Of more than SPREAD_VALUES values the histogram is of a draw of so many, the picture of all.
        """
        spread = np.asarray(values)
        if not len(spread):
            return
        some = sample(len(spread), SPREAD_VALUES)
        drawn = np.asarray(spread[some], float)
        self._of_round(lambda tracker, number: tracker.histogram(number, name, drawn))
        if words := drawn_of(len(some), len(spread)):
            self.text(f"{name}/rows", words)
        counts = bins_of(spread, chosen)
        shares = [part / len(spread) for part in counts]
        self.picture(
            f"{name}/chosen", lambda: figures.histogram(*(c.tolist() for c in counts)), shares
        )

    def coverage(self, name: str, coverage: Sequence, precision: Sequence) -> None:
        """Adds the share that is right (y) over the share kept, most confident first (x)."""

        def draw() -> Figure:
            return figures.curve(coverage, precision, label="share that is right")

        self.picture(name, draw, [list(coverage), list(precision)])

    def confusion(self, name: str, matrix: Sequence, classes: Sequence[str]) -> None:
        """Adds the confusion matrix (C, C), rows are gold, as a picture."""
        counts = np.asarray(matrix, float)
        shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        self.picture(name, lambda: figures.confusion(matrix, classes), [shares, list(classes)])

    def class_mix(self, name: str, classes: Sequence[str], shares: Mapping[str, Sequence]) -> None:
        """Adds a bar chart of class shares, e.g. {"added": counts, "gold": counts}."""
        parts = {k: np.asarray(v, float) / max(float(np.sum(v)), 1e-12) for k, v in shares.items()}
        self.picture(name, lambda: figures.class_mix(classes, shares), [list(classes), parts])

    def picture(self, name: str, draw: Callable[[], Figure], of: Any) -> None:
        """Draws and adds a picture unless it would look as it did when it was last drawn."""
        if not self._now or (name in self._drawn and _alike(self._drawn[name], of)):
            return
        pixels = figures.pixels(draw())
        self._drawn[name] = of
        self._of_round(lambda tracker, number: tracker.image(number, name, pixels))

    def audio(self, name: str, samples: Any, sample_rate: int, words: str = "") -> None:
        """Adds one clip, (samples,) in [-1, 1], with a line about it."""
        wave = np.asarray(samples, np.float32).reshape(-1)
        self._of_round(
            lambda tracker, number: tracker.audio(number, name, wave, sample_rate, words)
        )

    def points(self, name: str, vectors: Any, columns: Mapping[str, Any]) -> None:
        """Adds points (N, D) with the columns that say what they are, one value a row."""
        found = np.asarray(vectors)
        self._of_round(lambda tracker, number: tracker.points(number, name, found, columns))

    # --- the whole run ---

    def settings(self, values: Mapping[str, Any]) -> None:
        """Takes the settings that this run reads."""
        self._now = list(self.at_work)
        self._each(lambda tracker: tracker.settings(values))

    def final(self, number: int, values: Mapping[str, float | None]) -> None:
        """Adds the scores of what ships, which is round `number`, under `final/`."""
        found = {f"final/{name}": value for name, value in _finite(values).items()}
        self._now = [name for name in self.at_work if not self.kept.final(name)]
        self._each(lambda tracker: tracker.final(number, found))
        for name in self._shown():
            self.kept.keep(name, final=True)
        self._remember()

    def close(self) -> None:
        """Ends the work of all trackers."""
        for name in list(self.at_work):
            self._now, finished = [name], self.kept.final(name)
            self._each(lambda tracker, finished=finished: tracker.close(finished))
        self.at_work, self._now, self.number = {}, [], None

    # --- within ---

    def _band(self, title: str, low: str, high: str) -> None:
        self._each(lambda tracker: tracker.band(title, low, title, high))

    def _of_round(self, call: Callable[[Tracker, int], None]) -> None:
        number = self.number
        if number is not None:
            self._each(lambda tracker: call(tracker, number))

    def _each(self, call: Callable[[Tracker], None]) -> None:
        for name in self._shown():
            tracker = self.at_work[name]
            try:
                call(tracker)
            except Exception as error:  # of any library, network or disk
                del self.at_work[name]
                say_failed(name, error)
                with suppress(Exception):
                    tracker.close(False)

    def _shown(self) -> list[str]:
        return [name for name in self._now if name in self.at_work]

    def _remember(self) -> None:
        """Writes down what is shown; a full disk is told of by what the run itself writes."""
        if self.at_work:
            with suppress(Exception):
                self.kept.write()


def open_trackers(
    openers: Mapping[str, Callable[[Path, str, Kept], Tracker]], folder: str | Path, title: str
) -> Trackers:
    """Returns the trackers of a run, those left out that cannot be opened.

    Args:
        openers: name of the tracker -> what opens it for a run's folder, name and what was kept.
        folder: the run's folder.
        title: the run's name.
    """
    folder, found = Path(folder), {}
    kept = Kept(folder)
    for name, opener in openers.items():
        try:
            found[name] = opener(folder, title, kept)
        except Exception as error:  # of any library, network or disk
            say_failed(name, error)
    trackers = Trackers(found, kept)
    trackers._remember()
    return trackers


def say_failed(name: str, error: Exception) -> None:
    """Says on stderr that a tracker shows no more of this run, and why."""
    cause = " ".join(str(error).split())[:200] or type(error).__name__
    print(
        f"semi: {TITLES.get(name, name)} shows nothing more of this run ({cause}); training goes "
        "on, and --resume of an unfinished run tries it again",
        file=sys.stderr, flush=True,
    )  # fmt: skip


def _finite(values: Mapping[str, float | None]) -> dict[str, float]:
    found = {name: float(value) for name, value in values.items() if value is not None}
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _alike(one: Any, other: Any) -> bool:
    """Says whether a picture of the one would look like that of the other."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return list(one) == list(other) and all(_alike(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.shape == other.shape and bool(
            np.all((np.abs(one - other) <= SEEN) | (np.isnan(one) & np.isnan(other)))
        )
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= SEEN or (math.isnan(one) and math.isnan(other))
    return type(one) is type(other) and one == other
