"""What a run says at its end: what ships, and by how much it is better than the warm start.

Both models answer the same rows, so their difference is measured as a pair: what speakers have in
common cancels. Gold out-of-fold chose the round, so its gain is the more flattering one; where rows
were held out, the gain on those stands in the same sentence, elsewhere what may be expected there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..config.learning import LearningConfig
from ..data.wording import counted
from ..evaluation.intervals import Interval
from ..evaluation.names import METRIC_NAMES
from ..evaluation.text import points
from ..training.dataset import Dataset
from .measuring import measure, out_of_fold
from .record import gold_among, shipped_prediction
from .rounds import Outcome
from .state import RoundState
from .stopping import STOPPED


@dataclass
class Gain:
    """A metric of two models on the same gold rows, and what the second has more."""

    start: float
    final: float
    difference: Interval  # final - start, paired

    def to_dict(self) -> dict[str, Any]:
        """Returns a JSON-able dict."""
        return {"start": self.start, "final": self.final, "difference": self.difference.to_dict()}

    def words(self) -> str:
        """Returns '61.0 -> 74.5 (+13.5 [+8.1, +18.9] paired, over 10 speakers)'."""
        gap = self.difference
        shown = "" if gap.low > 0 or gap.high < 0 else ": no gain is shown"
        return (
            f"{100 * self.start:.1f} -> {100 * self.final:.1f} ("
            f"{points(gap.value, gap.low, gap.high)} paired, over {gap.over()}{shown})"
        )


ON_NEW_SPEAKERS = 0.6
"""Share of a gain out-of-fold that test speakers saw, in mean of seven corpora.

The chains that are judged learn from fewer labels than what ships, and where a few dozen rows lie
in folds of whole speakers, a chain often lacks just the classes that it is judged on: both make the
start look weaker than it is, the end hardly. 0.61 in the 416 runs of draw 0 that shipped a round
(benchmarks/results/selftraining), 0.53 to 0.72 in the draws of benchmarks/results/floors.txt; 0.62
and 0.58 in the 743 runs of draws 1 and 2, which it was not chosen on. How much a start gains from
the labels of one more fold explains 2 of the 5 points, and foretells single runs no better.
"""
Gains = dict[str, Gain]  # oof and, where rows are held out, test
PART_WORDS = {"oof": "out-of-fold", "test": "on test"}


def gains_of(
    dataset: Dataset, config: LearningConfig, start: RoundState, final: RoundState
) -> Gains:
    """Returns the gains of `final` over `start` in the metric of the rounds."""
    parts = {"oof": (dataset.gold, out_of_fold(start.outputs), out_of_fold(final.outputs))}
    test = gold_among(dataset, dataset.test)
    one, other = (shipped_prediction(dataset, state, test) for state in (start, final))
    if one is not None and other is not None:
        parts["test"] = (test, one, other)
    name = config.rounds.metric
    return {
        part: Gain(
            measure(dataset, name, rows, [before]).value,
            measure(dataset, name, rows, [after]).value,
            measure(dataset, name, rows, [after, before]),
        )
        for part, (rows, before, after) in parts.items()
    }


def gains_in_words(gains: Gains) -> str:
    """Returns the gains in words, out-of-fold and on test."""
    return "; ".join(f"{PART_WORDS[part]} {gain.words()}" for part, gain in gains.items())


def sentence_of(outcome: Outcome, metric: str, gains: Gains) -> str:
    """Returns the run's last line: what ships, against the warm start, out-of-fold and on test.

    Args:
        outcome: of the rounds.
        metric: rounds.metric.
        gains: of what ships over the warm start.
    """
    final, tried = outcome.final, len(outcome.states) - 1
    accepted = sum(s.accepted for s in outcome.states[1:])
    count = (
        f"{accepted} of {counted(tried, 'round')} accepted; stopped: {outcome.stopped} "
        f"({STOPPED[outcome.stopped]}). "
    )
    name = METRIC_NAMES[metric]
    if final.number:
        gain = gains["oof"].difference.value
        hint = "; " + _expected(gains) if gain > 0 and "test" not in gains else ""
        return count + f"Round {final.number} ships: {name} {gains_in_words(gains)}{hint}."
    scores = ", ".join(f"{PART_WORDS[part]} {100 * gain.start:.1f}" for part, gain in gains.items())
    return count + (
        f"The warm start ships ({name} {scores}): "
        + ("no round was tried." if not tried else "no round did better on gold.")
    )


def expected_gain(gains: Gains) -> float:
    """Returns what new speakers may see of the gain out-of-fold; never below 0."""
    return ON_NEW_SPEAKERS * max(0.0, gains["oof"].difference.value)


def _expected(gains: Gains) -> str:
    return (
        f"new speakers have seen about {ON_NEW_SPEAKERS:.0%} of such gains, so expect "
        f"{100 * expected_gain(gains):+.1f}"
    )
