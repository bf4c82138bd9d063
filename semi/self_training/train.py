"""`self_train`: from a configuration to a finished run directory; resumes after any kill."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from ..config import schema as settings
from ..config.recipes import resolved
from ..data.kept_reviews import own_reviews
from ..data.reviewed import reviewed_notes
from ..training.finetune.provenance import encoder_notes
from ..training.rows import rows_to_train
from .closing import gains_of, sentence_of
from .final_student import last_student
from .frame import Ending, RunResult, run_frame
from .rounds import run_rounds
from .settling import settled


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
    data = config.data
    if resume:
        data = replace(data, reviews=own_reviews(Path(config.path), data.reviews))
    suited, manifest, splits = rows_to_train(replace(config, data=data))
    config = replace(config, encoders=suited.encoders)
    if progress:
        print(manifest.reading, file=sys.stderr, flush=True)
        if manifest.reviewed is not None:
            print(*reviewed_notes(manifest.reviewed, config.data.ties), sep="\n",
                  file=sys.stderr, flush=True)  # fmt: skip
    splits.notes += encoder_notes(config, manifest, splits)
    rows = {role: int((splits.role == role).sum()) for role in ("labeled", "pool")}
    config, recipe = resolved(config, rows["labeled"], rows["pool"])
    splits.notes += [recipe] if recipe else []
    if recipe and progress:
        print(recipe, file=sys.stderr, flush=True)
    with run_frame(config, manifest, splits, resume=resume, progress=progress) as frame:
        config = settled(frame)
        dataset, recorder = frame.ready.dataset, frame.record(config)
        outcome = run_rounds(
            dataset, config, recorder=recorder, on_step=frame.on_step, on_round=frame.bars.round
        )
        start, final, student = outcome.states[0], outcome.final, ""
        if config.distill.final:
            taught, student = last_student(
                dataset, config, outcome, recorder, frame.on_step, frame.bars.round
            )
            final = taught.final
        gains = gains_of(dataset, config, start, final)
        sentence = f"{sentence_of(outcome, config.rounds.metric, gains)} {student}".rstrip()
        tried = len(outcome.states) - 1
        return frame.finish(Ending(start, final, tried, outcome.stopped, sentence, gains))
