"""`self_train`: from a configuration to a finished run directory; resumes after any kill."""

from __future__ import annotations

import sys

from ..config import schema as settings
from ..config.recipes import resolved
from ..evaluation.names import METRIC_NAMES
from ..training.finetune.provenance import encoder_notes
from ..training.rows import read_rows
from .final_student import last_student
from .frame import Ending, RunFrame, RunResult, run_frame
from .model_selection import select_model
from .rounds import Outcome, run_rounds


def self_train(
    config: settings.Config, *, resume: bool = False, progress: bool = True
) -> RunResult:
    """Trains a warm start and gated rounds into `<runs_dir>/<name>/` and returns what came of it.

    Args:
        config: see semi.load_config.
        resume: go on with the run of that name; its finished rounds are read, never redone.
        progress: bars on stderr.
    """
    settings.check(config)
    manifest, splits = read_rows(config)
    if progress:
        print(manifest.reading, file=sys.stderr, flush=True)
    splits.notes += encoder_notes(config, manifest, splits)
    rows = {role: int((splits.role == role).sum()) for role in ("labeled", "pool")}
    config, recipe = resolved(config, rows["labeled"], rows["pool"])
    splits.notes += [recipe] if recipe else []
    if recipe and progress:
        print(recipe, file=sys.stderr, flush=True)
    with run_frame(config, manifest, splits, resume=resume, progress=progress) as frame:
        config = _settled(frame)
        dataset, recorder = frame.ready.dataset, frame.record(config)
        outcome = run_rounds(
            dataset, config, recorder=recorder, on_step=frame.on_step, on_round=frame.bars.round
        )
        start, tried = outcome.states[0], len(outcome.states) - 1
        sentence = sentence_of(outcome, config.rounds.metric)
        if config.distill.final:
            outcome, student = last_student(
                dataset, config, outcome, recorder, frame.on_step, frame.bars.round
            )
            sentence += f" {student}"
        return frame.finish(Ending(start, outcome.final, tried, outcome.stopped, sentence))


def _settled(frame: RunFrame) -> settings.Config:
    """Returns the settings with the student that gold prefers, where there is a choice."""
    run, config = frame.run, frame.run.config
    if not run.rounds():  # what began with one student goes on with it
        found = select_model(frame.ready.dataset, config)
        if found.sentence:
            config = found.config
            run.settle(config, found.sentence)
    if sentence := run.settled():
        frame.ready.notes.append(sentence)
        if frame.progress:
            print(sentence, file=sys.stderr, flush=True)
    return config


def sentence_of(outcome: Outcome, metric: str) -> str:
    """Returns the run's last line: what ships, against the warm start, on gold out-of-fold."""
    start, final = outcome.states[0], outcome.final
    name, tried = METRIC_NAMES[metric], len(outcome.states) - 1
    accepted = sum(s.accepted for s in outcome.states[1:])
    count = f"{accepted} of {tried} rounds accepted; stopped: {outcome.stopped}. "
    scores = f"{name} {100 * final.metric:.1f} against {100 * start.metric:.1f}"
    if final.number == 0:
        return count + (
            f"The warm start ships (out-of-fold {name} {100 * start.metric:.1f}): "
            + ("no round was tried." if not tried else "no round did better on gold.")
        )
    within = " - within one standard error, so not a proven gain" if (
        final.metric - start.metric < start.se
    ) else ""  # fmt: skip
    return count + (
        f"Round {final.number} ships: out-of-fold {scores} of the warm start "
        f"(standard error {100 * start.se:.1f}){within}."
    )
