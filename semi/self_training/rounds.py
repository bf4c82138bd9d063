"""The rounds themselves: warm start, select, train a fresh student, gate. Pure; no files.

Every chain (fold) lives its own self-training life on pool labels from its own earlier models, so
the gold rows it holds out stay unseen in every round; the last chain holds nothing out and ships.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from torch import Tensor

from ..config.learning import LearningConfig
from ..training.dataset import Dataset
from ..training.fit import OnStep
from ..training.students import STUDENTS, learned_start
from .floor import floor_of
from .gate import agreement, gate, judged, ships
from .state import PseudoLabels, RoundState, of_held_out_groups
from .stopping import in_vain
from .targets import targets_of
from .tasks import TASKS

# (dataset, state of the teacher, config, coverage, number of the round) -> see `choose`
Pick = Callable[[Dataset, RoundState, LearningConfig, float, int], tuple[PseudoLabels, Tensor]]


class Recorder(Protocol):
    """Where finished rounds go and come back from after an interruption."""

    def load(self, number: int) -> RoundState | None:
        """Returns the finished round, or None."""
        ...

    def save(self, state: RoundState) -> None:
        """Keeps a finished round, whole or not at all; what it holds of the pool may move there."""
        ...

    def load_pretrained(self) -> dict[str, Tensor] | None:
        """Returns the tensors of a finished pre-training, or None."""
        ...

    def save_pretrained(self, tensors: dict[str, Tensor]) -> None:
        """Keeps the pre-trained tensors."""
        ...


class NoRecorder:
    """Keeps nothing: the rounds are in memory alone."""

    def load(self, number: int) -> RoundState | None:
        """Returns None: no round was kept."""
        return None

    def save(self, state: RoundState) -> None:
        """Keeps nothing."""

    def load_pretrained(self) -> dict[str, Tensor] | None:
        """Returns None: no pre-training was kept."""
        return None

    def save_pretrained(self, tensors: dict[str, Tensor]) -> None:
        """Keeps nothing."""


@dataclass
class Outcome:
    """The rounds of a run: all of them, the one that ships, and why they ended."""

    states: list[RoundState]
    final: RoundState
    stopped: str  # a key of semi.self_training.stopping.STOPPED


def choose(
    dataset: Dataset, state: RoundState, config: LearningConfig, rate: float, number: int
) -> tuple[PseudoLabels, Tensor]:
    """Returns what each chain picks from the pool, and the (G, P, C) targets of all its rows.

    No chain learns from pool rows of the groups that it will be judged on.
    """
    picked, target = TASKS[config.task.kind].select(dataset, state, config, rate, number)
    unseen = ~of_held_out_groups(dataset)  # (G, P)
    negative = None if picked.negative is None else picked.negative * unseen[..., None]
    picked = replace(
        picked, chosen=picked.chosen & unseen, weight=picked.weight * unseen, negative=negative
    )
    return picked, target


@dataclass
class Chosen:
    """What a round learns beside gold."""

    pseudo_labels: PseudoLabels
    target: Tensor  # (G, P, C) soft targets of the pool rows
    rate: float  # share of the pool asked for


def trained(
    dataset: Dataset, config: LearningConfig, learned: dict[str, Tensor], number: int,
    on_step: OnStep | None, chosen: Chosen | None = None,
) -> RoundState:  # fmt: skip
    """Returns the judged round of fresh models on gold, and on what was chosen if anything.

    Args:
        dataset: the data.
        config: the settings.
        learned: what was learned without labels; see `learned_start`.
        number: of the round.
        on_step: its step callback.
        chosen: the pseudo-labels; None in the warm start.
    """
    student = STUDENTS[config.model.kind]
    seen = student.view(dataset, learned)
    pseudo_labels, target, rate = None, None, 0.0
    if chosen is not None:
        pseudo_labels, target, rate = chosen.pseudo_labels, chosen.target, chosen.rate
    targets = targets_of(seen, pseudo_labels, target)
    ensemble = student.fit(seen, targets, config, learned, on_step)
    del targets  # of the whole pool
    state = judged(seen, ensemble, config, number, pseudo_labels, rate)
    state.ensemble = student.whole(ensemble, dataset, learned)
    return state


def _pretrained(
    dataset: Dataset, config: LearningConfig, recorder: Recorder, on_step: OnStep | None
) -> dict[str, Tensor]:
    """Returns what is learned without labels, read back or new; see `learned_start`."""
    learned = recorder.load_pretrained()
    if learned is None:
        learned = learned_start(dataset, config, on_step)
        recorder.save_pretrained(learned)
    return learned


def warm_start(
    dataset: Dataset,
    config: LearningConfig,
    learned: dict[str, Tensor],
    on_step: OnStep | None = None,
) -> RoundState:
    """Returns round 0: the supervised model on gold alone; with rounds.floor the best of some."""
    state = trained(dataset, config, learned, 0, on_step)
    state.verdict = "warm start on gold only"
    if config.rounds.floor:
        state, state.floor = floor_of(dataset, config, state, learned)
    return state


def _first_round(
    dataset: Dataset, config: LearningConfig, learned: dict[str, Tensor], recorder: Recorder,
    on_step: OnStep | None,
) -> RoundState:  # fmt: skip
    """Returns round 0, read back or new."""
    state = recorder.load(0)
    if state is None:
        state = warm_start(dataset, config, learned, on_step)
        recorder.save(state)
    return state


@dataclass
class TaughtBy:
    """What a round to come is taught by."""

    current: RoundState  # the teacher
    refused: RoundState | None  # the round that gold refused since, if any
    pick: Pick
    rate: float  # share of the pool asked for


def _next_round(
    dataset: Dataset, config: LearningConfig, learned: dict[str, Tensor], number: int,
    on_step: OnStep | None, taught: TaughtBy,
) -> RoundState | str:  # fmt: skip
    """Returns the judged round that follows, or the reason why it need not be trained.

    The targets of the whole pool end here: nothing else holds them.
    """
    picked, target = taught.pick(dataset, taught.current, config, taught.rate, number)
    least = config.rounds.min_change
    if vain := in_vain(picked, taught.current, taught.refused, least):
        return vain
    chosen = Chosen(picked, target, taught.rate)
    return trained(dataset, config, learned, number, on_step, chosen)


def coverage_at(config: LearningConfig, taken: int, halved: bool) -> float:
    """Returns the share of the pool asked for after `taken` accepted rounds."""
    steps = config.select.coverage
    return steps[min(taken, len(steps) - 1)] * (0.5 if halved else 1.0)


def run_rounds(
    dataset: Dataset, config: LearningConfig, *, recorder: Recorder | None = None,
    on_step: Callable[[int], OnStep | None] = lambda number: None,
    on_round: Callable[[RoundState], None] = lambda state: None, pick: Pick | None = None,
) -> Outcome:  # fmt: skip
    """Returns the outcome of warm start, rounds and gate; finished rounds are read back.

    Args:
        dataset: the data.
        config: sections seed, model, train, noise, contrast, vote, select, rounds.
        recorder: keeps finished rounds; None keeps them in memory only.
        on_step: given a round number (-1 = pre-training), returns its step callback or None.
        on_round: called with every judged round, read back or new.
        pick: what chooses a round's pseudo-labels in place of `choose`.
    """
    recorder = recorder or NoRecorder()
    learned = _pretrained(dataset, config, recorder, on_step(-1))
    dataset = replace(dataset, seen=STUDENTS[config.model.kind].view(dataset, learned).seen)
    state = _first_round(dataset, config, learned, recorder, on_step(0))
    on_round(state)
    states, current, best, taken, stopped = [state], state, state, 0, "max_rounds"
    refused: RoundState | None = None
    for number in range(1, config.rounds.max_rounds + 1):
        if not len(dataset.pool):
            stopped = "all_labeled"
            break
        rate = coverage_at(config, taken, refused is not None)
        state = recorder.load(number)
        if state is None:
            taught = TaughtBy(current, refused, pick or choose, rate)
            state = _next_round(dataset, config, learned, number, on_step(number), taught)
            if isinstance(state, str):
                stopped = state
                break
            state.agreement = agreement(dataset, states[0], state.pseudo_labels, config)
            gate(state, best, config)
            recorder.save(state)
            current.last_logits = states[0].last_logits = None  # asked for this round
        on_round(state)
        states.append(state)
        if state.accepted:
            current, taken, best = state, taken + 1, max(state, best, key=lambda s: s.metric)
            continue
        state.ensemble = None
        if refused is not None or not config.rounds.retry:
            stopped = "gate"
            break
        refused = state
    return Outcome(states, ships(dataset, states, config), stopped)
