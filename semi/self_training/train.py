"""`self_train`: from a configuration to a finished run directory; resumes after any kill."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import schema as settings
from ..config.recipes import resolved
from ..config.training import GATE_METRICS, TASK_METRICS
from ..evaluation.html_report import write_report
from ..evaluation.tensorboard import Tracker, open_tracker
from ..files import write_json, write_table
from ..threads import limited_threads
from ..training.finetune.provenance import encoder_notes
from .checkpoints import RunRecorder
from .final_student import last_student
from .model_dir import Model, save_model
from .model_selection import select_model
from .prepare import Prepared, prepare, splits_table
from .progress import RoundProgress
from .rounds import Outcome, run_rounds
from .run_dir import Run
from .state import RoundState, shipped
from .targets import read_data
from .tensorboard_round import show_round

NAMES: dict[str, str] = dict(zip(GATE_METRICS, ("macro-F1", "WAF", "UAR", "accuracy"), strict=True))
NAMES |= dict(zip(TASK_METRICS, ("micro-F1", "F1 per row", "CCC"), strict=True))


@dataclass
class RunResult:
    """What came of a run; everything else is in its folder."""

    path: Path
    stopped: str  # max_rounds | no_change | all_labeled | gate
    rounds: int  # finished rounds beside the warm start, rolled-back ones included
    best_round: int  # the round whose model ships; 0 = the warm start
    metrics: dict[str, Any]  # of that model: metrics_oof, metrics_dev, metrics_test
    sentence: str  # what the run has to say for itself


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
    manifest, splits = read_data(config)
    splits.notes += encoder_notes(config, manifest, splits)
    rows = {role: int((splits.role == role).sum()) for role in ("labeled", "pool")}
    config, told = resolved(config, rows["labeled"], rows["pool"])
    splits.notes += [told] if told else []
    if told and progress:
        print(told, file=sys.stderr, flush=True)
    with limited_threads(config.threads), Run.create(config, resume=resume) as run:
        run.bind_manifest(manifest.sha256)
        try:
            ready = prepare(config, manifest, splits, progress=progress)
        except Exception:
            run.take_back()
            raise
        config = run.config
        if not run.rounds():  # what began with one student goes on with it
            found = select_model(ready.dataset, config)
            config = found.config
            if found.told:
                run.settle(config, found.told)
        if compared := run.settled():
            ready.notes.append(compared)
            if progress:
                print(compared, file=sys.stderr, flush=True)
        write_table(run.path / "splits.csv", splits_table(manifest, splits))
        ready.extraction.write_quarantine(run.path / "quarantine.csv")
        tracker = open_tracker(run.path / "tb", enabled=config.tracking)
        bars = RoundProgress(config, show=progress)
        recorder = RunRecorder(
            run,
            ready.dataset,
            config,
            on_record=lambda state, record: show_round(
                tracker, ready.dataset, state, record, manifest.table
            ),
        )
        try:
            outcome = run_rounds(
                ready.dataset,
                config,
                recorder=recorder,
                on_step=lambda number: _follow(tracker, bars, number),
                on_round=bars.round,
            )
            sentence = sentence_of(outcome, config.rounds.metric)
            if config.distill.final:
                outcome, more = last_student(
                    ready.dataset, config, outcome, recorder,
                    lambda number: _follow(tracker, bars, number), bars.round,
                )  # fmt: skip
                sentence += f" {more}"
        finally:
            bars.close()
            tracker.close()
        return _finish(run, config, ready, outcome, sentence, tracker)


def _follow(
    tracker: Tracker, bars: RoundProgress, number: int
) -> Callable[[int, dict[str, float]], None]:
    """Returns the step callback of a round; -1 is pre-training."""
    tracker.begin_round(number)

    def on_step(step: int, values: dict[str, float]) -> None:
        bars.step(number, step)
        named = {k if k.startswith(("probe/", "lr")) else f"loss/{k}": v for k, v in values.items()}
        tracker.step(step, named)

    return on_step


def sentence_of(outcome: Outcome, metric: str) -> str:
    """Returns the run's last line: what ships, against the warm start, on gold out-of-fold."""
    start, final = outcome.states[0], outcome.final
    name, tried = NAMES[metric], len(outcome.states) - 1
    accepted = sum(s.accepted for s in outcome.states[1:])
    told = f"{accepted} of {tried} rounds accepted; stopped: {outcome.stopped}. "
    scores = f"{name} {100 * final.metric:.1f} against {100 * start.metric:.1f}"
    if final.number == 0:
        return told + (
            f"The warm start ships (out-of-fold {name} {100 * start.metric:.1f}): "
            + ("no round was tried." if not tried else "no round did better on gold.")
        )
    within = " - within one standard error, so not a proven gain" if (
        final.metric - start.metric < start.se
    ) else ""  # fmt: skip
    return told + (
        f"Round {final.number} ships: out-of-fold {scores} of the warm start "
        f"(standard error {100 * start.se:.1f}){within}."
    )


def _finish(
    run: Run, config: settings.Config, ready: Prepared, outcome: Outcome, sentence: str,
    tracker: Tracker,
) -> RunResult:  # fmt: skip
    """Writes the model, result.json and the report; returns the result."""
    from ..files import read_json

    final: RoundState = outcome.final
    if final.ensemble is None:
        raise RuntimeError("the round that ships has no model")
    record = read_json(run.round_dir(final.number) / "round.json")
    ensemble, chains = shipped(final.ensemble, ready.dataset.folds + 1, final.alone)
    metrics = {k: record[k] for k in ("metrics_oof", "metrics_dev", "metrics_test")}
    save_model(
        run.path / "model",
        Model(
            config=config,
            classes=ready.dataset.classes,
            ensemble=ensemble,
            voter=final.outputs.voter,
            chains=chains,
            standardizer=ready.standardizer,
            identities=ready.identities,
            facts={"round": final.number, "sentence": sentence},
        ),
    )
    tried = len(outcome.states) - 1
    write_json(
        run.path / "result.json",
        {
            "stopped": outcome.stopped,
            "rounds": tried,
            "best_round": final.number,
            "sentence": sentence,
            "notes": ready.notes,
            "leaks": ready.leaks,
            "quarantined": len(ready.extraction.quarantine),
            "gold_rows": len(ready.dataset.gold),
            "pool_rows": len(ready.dataset.pool),
            "warm_start": outcome.states[0].metric,
            "final": final.metric,
        },
    )
    scores = {
        f"{part}/{m}": found.get(m)
        for part, found in (("oof", metrics["metrics_oof"]), ("test", metrics["metrics_test"]))
        if found
        for m in GATE_METRICS + TASK_METRICS
        if m in GATE_METRICS or found.get(m) is not None
    }
    tracker.hparams(settings.signature(config), scores)
    write_report(run.path)
    return RunResult(run.path, outcome.stopped, tried, final.number, metrics, sentence)
