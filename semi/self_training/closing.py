"""What a run says at its end: what ships, and by how much it is better than the warm start.

Both models answer the same rows, so their difference is measured as a pair: what speakers have in
common cancels. Gold out-of-fold chose the round, so its gain is the more flattering one; where rows
were held out, the gain on those stands in the same sentence.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from ..config.learning import LearningConfig
from ..data.wording import counted
from ..evaluation.intervals import Interval, intervals
from ..evaluation.multitask import Sums, affect_sums, multi_sums, of_sums
from ..evaluation.names import METRIC_NAMES
from ..training.dataset import Dataset
from ..training.teacher import Prediction, TeacherOutputs
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
            f"{100 * self.start:.1f} -> {100 * self.final:.1f} ({100 * gap.value:+.1f} "
            f"[{100 * gap.low:+.1f}, {100 * gap.high:+.1f}] paired, over {gap.over()}{shown})"
        )


Gains = dict[str, Gain]  # oof and, where rows are held out, test
PART_WORDS = {"oof": "out-of-fold", "test": "on test"}


def gains_of(
    dataset: Dataset, config: LearningConfig, start: RoundState, final: RoundState
) -> Gains:
    """Returns the gains of `final` over `start` in the metric of the rounds."""
    parts = {"oof": (dataset.gold, _out_of_fold(start.outputs), _out_of_fold(final.outputs))}
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


def measure(dataset: Dataset, name: str, rows: Tensor, answers: list[Prediction]) -> Interval:
    """Returns a metric of one model on R rows, or the difference of two, with its interval."""
    at = rows.cpu().numpy()
    group = dataset.group[at]
    probs = [a.probs.cpu().numpy() for a in answers]
    sums: list[Sums] = []
    if name == "ccc" and dataset.affect is not None:
        truth = dataset.affect[rows].cpu().numpy()
        sums = [affect_sums(a.affect.cpu(), truth) for a in answers if a.affect is not None]
    elif dataset.multi is not None:
        truth = dataset.multi[rows].cpu().numpy()
        sums = [multi_sums(p, truth) for p in probs]
    if sums:
        found = of_sums(sums[0], sums[1] if len(sums) > 1 else None, group)[name]
    else:
        found = intervals(probs, dataset.label[rows].cpu().numpy(), group)[name]
    return replace(found, kind=dataset.group_kind)


def _out_of_fold(outputs: TeacherOutputs) -> Prediction:
    affect = None if outputs.affect is None else outputs.affect.oof
    return Prediction(outputs.oof, outputs.oof[None], affect)


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
        return count + f"Round {final.number} ships: {name} {gains_in_words(gains)}."
    scores = ", ".join(f"{PART_WORDS[part]} {100 * gain.start:.1f}" for part, gain in gains.items())
    return count + (
        f"The warm start ships ({name} {scores}): "
        + ("no round was tried." if not tried else "no round did better on gold.")
    )
