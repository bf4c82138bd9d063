"""A student: models taught by soft labels, judged as a round is; and the last one of a run.

The last student (`distill.final`) replaces all folds and members by one model. Chain k of it learns
from chain k of the final round alone, so the gold that this chain holds out stays unseen and its
out-of-fold score is honest; the chain that ships learns from the vote of all. Out-of-fold scores
are of single chains on both sides: what averaging the chains adds shows on test rows only.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from models.fusion.config import ON_AXES

from ..config.schema import Config
from ..config.task import TaughtTask
from ..data.wording import counted
from ..training.dataset import Dataset
from ..training.fit import OnStep, fit
from ..training.initialisation import fresh_ensemble
from ..training.steps import FitConfig
from .checkpoints import RunRecorder
from .distillation import distillation_targets
from .gate import agreement, gate, judged, ships
from .rounds import Outcome
from .soft_labels import SoftLabels, soft_labels_of
from .state import RoundState


def taught_round(
    dataset: Dataset, labels: SoftLabels, config: Config, learned: dict[str, Tensor],
    on_step: OnStep, number: int = 1,
) -> RoundState:  # fmt: skip
    """Returns the taught student as round `number`, judged on given labels alone."""
    task, sharp = config.task, config.distill
    targets, pseudo_labels = distillation_targets(dataset, labels, config)
    student = TaughtTask(**vars(task), temperature=sharp.temperature, match=sharp.match)
    train = replace(config.train, label_smoothing=0.0)  # the teacher's word is soft already
    fresh = fresh_ensemble(dataset, config, learned)
    taught = FitConfig.of(config, train=[train], task=student)
    ensemble = fit(fresh, targets, taught, seed=config.seed, on_step=on_step)
    return judged(dataset, ensemble, config, number, pseudo_labels, 1.0)


def last_student(
    dataset: Dataset, config: Config, outcome: Outcome, recorder: RunRecorder,
    on_step: Callable[[int], OnStep], on_round: Callable[[RoundState], None],
) -> tuple[Outcome, str]:  # fmt: skip
    """Returns the outcome with a student in place of its models, if gold does not object.

    Beside it a sentence that says what became of the student. Its round has the number after the
    last possible one, so that a resumed run never takes it for a round of its own.

    Args:
        dataset: the data.
        config: all settings of the run.
        outcome: of the rounds.
        recorder: of the run; it holds what was learned without labels, and keeps the student.
        on_step: given the number of a round, returns its step callback.
        on_round: called with the judged student.
    """
    teacher, number = outcome.final, config.rounds.max_rounds + 1
    recorder.go_on("distill", teacher)
    student = recorder.load(number)
    if student is None:
        student = _student(dataset, config, outcome, recorder, on_step, number)
        recorder.save(student)
    on_round(student)
    final = ships(dataset, [*outcome.states, student], config)
    return replace(outcome, final=final), _sentence(dataset, config, teacher, student, final)


def _student(
    dataset: Dataset, config: Config, outcome: Outcome, recorder: RunRecorder,
    on_step: Callable[[int], OnStep], number: int,
) -> RoundState:  # fmt: skip
    """Returns the judged student of the round that ships."""
    teacher = outcome.final
    if teacher.ensemble is None:
        raise RuntimeError("the round that ships has no model")
    if config.model.kind in ON_AXES:  # solved, not trained: nothing of it is left to chance
        on_step(number)
        verdict = (
            f"accepted: the chain that learns from all labels takes over from {dataset.folds + 1}; "
            f"out-of-fold scores, which are of single chains, stay at {teacher.metric:.3f}"
        )
        return replace(
            teacher, number=number, pseudo_labels=None, coverage=1.0, verdict=verdict, alone=True
        )
    alone = copy.copy(config)
    alone.train = replace(config.train, members=1)
    learned = {k: v[:1] for k, v in (recorder.load_pretrained() or {}).items()}
    labels = soft_labels_of(dataset, teacher)
    student = taught_round(dataset, labels, alone, learned, on_step(number), number)
    student.alone = True
    student.agreement = agreement(dataset, outcome.states[0], student.pseudo_labels, config)
    highest = replace(config, rounds=replace(config.rounds, keep="best"))
    gate(student, ships(dataset, outcome.states, highest), config)
    if not student.accepted:
        student.ensemble = None
    return student


def _sentence(
    dataset: Dataset, config: Config, teacher: RoundState, student: RoundState, final: RoundState
) -> str:
    """Returns what became of the student, in words."""
    if teacher.ensemble is None:
        raise RuntimeError("the round that ships has no model")
    many, chains = teacher.ensemble.count, dataset.folds + 1
    scores = f"out-of-fold {100 * student.metric:.1f} against {100 * teacher.metric:.1f}"
    if final is not student:
        return (
            f"Its {counted(many, 'model', 'stays', 'stay')}: a student of theirs is behind "
            f"({scores})."
        )
    if config.model.kind in ON_AXES:
        return (
            f"Of its {counted(many, 'model')} the {many // chains} that learned from all labels "
            "ship alone."
        )
    return (
        f"One student ships in place of its {counted(many, 'model')} ({scores}, both of single "
        f"chains: what the mean of {chains} of them adds is not in these scores)."
    )
