"""The frame of every run that trains: its folder, its inputs, what is shown and what is written.

`semi train` and `semi distill` differ in what they do between `record` and `finish`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..config.reads import settings_read
from ..config.schema import Config
from ..config.training import GATE_METRICS, TASK_METRICS
from ..data.gold import GOLD, gold_table
from ..data.kept_reviews import keep_reviews
from ..data.manifest import Manifest
from ..data.roles import Splits
from ..errors import RunError
from ..evaluation.html_report import write_report
from ..evaluation.report_rows import GOLD_ANSWERS
from ..evaluation.run_json import RESULT, read_round_record
from ..evaluation.trackers.opening import trackers_of
from ..evaluation.trackers.several import Trackers
from ..files import write_json, write_table
from ..threads import limited_threads
from ..training.fit import OnStep
from .checkpoints import RunRecorder
from .checksum_chain import mark_finished, refuse_other_features
from .closing import Gains, expected_gain
from .gold_answers import answers_of
from .model_dir import Model, save_model
from .prepare import Prepared, prepare, splits_table
from .progress import RoundProgress
from .resumed import refuse_other_sides
from .run_dir import SCALING, Run
from .show_round import show_round
from .state import RoundState, shipped

METRIC_PARTS = ("metrics_oof", "metrics_dev", "metrics_test")


@dataclass(repr=False)
class RunResult:
    """What came of a run; everything else is in its folder."""

    path: Path
    stopped: str  # max_rounds | no_change | converged | all_labeled | gate
    rounds: int  # finished rounds beside the warm start, rolled-back ones included
    best_round: int  # the round whose model ships; 0 = the warm start
    metrics: dict[str, Any]  # of that model: metrics_oof, metrics_dev, metrics_test
    sentence: str  # what the run has to say for itself

    def __repr__(self) -> str:
        """Returns what a prompt shows: where the run is, and what came of it."""
        return f"{self.path}: {self.sentence}"

    def _repr_html_(self) -> str:
        """Returns what a notebook shows: what ships, rounds, classes, some mistakes to hear."""
        from .report import run_fragment

        return run_fragment(self.path)


@dataclass
class Ending:
    """How a run ended."""

    start: RoundState  # the warm start
    final: RoundState  # the round that ships
    rounds: int  # finished ones beside the warm start
    stopped: str
    sentence: str
    gains: Gains  # of what ships over the warm start
    notes: list[str] = field(default_factory=list)  # beside those of the inputs
    facts: dict[str, Any] = field(default_factory=dict)  # further entries of result.json


class RunFrame:
    """A run at work; `record` begins the writing of rounds, `finish` ends it."""

    trackers: Trackers
    bars: RoundProgress
    recorder: RunRecorder

    def __init__(self, run: Run, ready: Prepared, progress: bool) -> None:
        self.run, self.ready, self.progress = run, ready, progress

    def record(self, config: Config) -> RunRecorder:
        """Writes who is who, opens what is shown, and returns what keeps the rounds."""
        run, ready = self.run, self.ready
        self._write_splits()
        ready.extraction.write_quarantine(run.path / "quarantine.csv")
        if ready.manifest.reviewed is not None:
            write_table(run.path / GOLD, gold_table(ready.manifest, ready.splits))
        self.config = config
        self.trackers = trackers_of(config.track if config.tracking else [], run.path, config.name)
        self.trackers.settings(settings_read(config))
        self.bars = RoundProgress(config, show=self.progress)
        self.recorder = RunRecorder(
            run, ready.dataset, config, self._show, ready.sha256, self._show_if_lacking
        )
        return self.recorder

    def read_again(self, config: Config) -> None:
        """Reads the inputs under settings that the data has decided on since they were read."""
        drawn, notes = self.ready.drawn, [self.run.settled(SCALING)]
        self.ready = prepare(config, self.ready.manifest, drawn, progress=False)
        self.ready.notes += [note for note in notes if note]

    def _write_splits(self) -> None:
        """Writes who is who; RunError where finished rounds were trained on other splits."""
        path = self.run.path / "splits.csv"
        table = splits_table(self.ready.manifest, self.ready.splits)
        if self.run.rounds() and path.is_file():
            if path.read_text(encoding="utf-8") != table.to_csv(index=False, lineterminator="\n"):
                raise RunError(
                    f"the splits drawn now are not those in {path}, on which the finished rounds "
                    "were trained; go on with the version of semi that began the run, or start a "
                    "new one with another name=..."
                )
            return
        write_table(path, table)

    def _show(self, state: RoundState, record: dict) -> None:
        if self.trackers.number != state.number:  # solved, not trained: it had no step
            self.trackers.begin_round(state.number)
        show_round(self.trackers, self.ready.dataset, state, record, self.ready.manifest.table)

    def _show_if_lacking(self, state: RoundState) -> None:
        """Shows a round that was read back where a kill or a failure kept it from being shown."""
        if self.trackers.lacking(state.number):
            record = read_round_record(self.run.round_dir(state.number))
            show_round(self.trackers, self.ready.dataset, state, record, self.ready.manifest.table)

    def on_step(self, number: int) -> OnStep:
        """Returns the step callback of a round; -1 is pre-training."""

        def on_step(step: int, values: dict[str, float]) -> None:
            self.bars.step(number, step)
            if self.trackers.number != number:  # only now: a resumed round is read, not trained
                self.trackers.begin_round(number)
            named = {
                k if k.startswith(("probe/", "lr")) else f"loss/{k}": v for k, v in values.items()
            }
            self.trackers.step(step, named)

        return on_step

    def close(self) -> None:
        """Closes what is shown."""
        if hasattr(self, "recorder"):
            self.bars.close()
            self.trackers.close()

    def finish(self, ending: Ending) -> RunResult:
        """Writes the model, result.json and the report; returns the result."""
        run, ready, final = self.run, self.ready, ending.final
        if final.ensemble is None:
            raise RuntimeError("the round that ships has no model")
        record = read_round_record(run.round_dir(final.number))
        metrics = {k: record[k] for k in METRIC_PARTS}
        ensemble, chains = shipped(final.ensemble, ready.dataset.folds + 1, final.alone)
        facts = {"round": final.number, "sentence": ending.sentence} | ending.facts
        save_model(
            run.path / "model",
            Model(self.config, ready.dataset.classes, ensemble, final.outputs.voter, chains,
                  ready.standardizer, ready.identities, facts),
        )  # fmt: skip
        result = {
            "stopped": ending.stopped,
            "rounds": ending.rounds,
            "best_round": final.number,
            "sentence": ending.sentence,
            "notes": [*ready.notes, *ending.notes],
            "leaks": ready.leaks,
            "quarantined": len(ready.extraction.quarantine),
            "gold_rows": len(ready.dataset.gold),
            "pool_rows": len(ready.dataset.pool),
            "group_kind": ready.dataset.group_kind,
            "warm_start": ending.start.metric,
            "final": final.metric,
            "gain": {part: gain.to_dict() for part, gain in ending.gains.items()},
            "expected_gain": expected_gain(ending.gains),
        }
        self.recorder.write_ledger()
        write_table(run.path / GOLD_ANSWERS, answers_of(ready.dataset, final, self.config))
        write_json(run.path / RESULT, result | ending.facts)
        self.trackers.final(final.number, _scores(metrics))
        write_report(run.path, ready.manifest.table)
        mark_finished(run.path)
        return RunResult(
            run.path, ending.stopped, ending.rounds, final.number, metrics, ending.sentence
        )


def _settle_scaling(run: Run, ready: Prepared, progress: bool) -> None:
    """Writes down and tells what features.standardize=auto came to; a begun run keeps it."""
    if ready.scaling is not None:
        features = replace(run.config.features, standardize=ready.scaling.mode)
        run.settle(replace(run.config, features=features), ready.scaling.sentence, SCALING)
    if sentence := run.settled(SCALING):
        ready.notes.append(sentence)
        if progress:
            print(sentence, file=sys.stderr, flush=True)


def _scores(metrics: dict[str, Any]) -> dict[str, float | None]:
    """Returns part/metric -> value of what is known out-of-fold and on test rows."""
    return {
        f"{part}/{name}": found.get(name)
        for part, found in (("oof", metrics["metrics_oof"]), ("test", metrics["metrics_test"]))
        if found
        for name in GATE_METRICS + TASK_METRICS
        if name in GATE_METRICS or found.get(name) is not None
    }


@contextmanager
def run_frame(
    config: Config, manifest: Manifest, splits: Splits, *, resume: bool, progress: bool
) -> Iterator[RunFrame]:
    """Yields the frame of a run in its folder, with its inputs read or extracted.

    Args:
        config: the run's settings.
        manifest: its utterances.
        splits: their sides.
        resume: go on with the run of that name.
        progress: bars on stderr.
    """
    with Run.create(config, resume=resume) as run:
        run.bind_manifest(manifest.sha256)
        refuse_other_sides(run.path, manifest, splits)
        with limited_threads(config.threads):
            try:
                ready = prepare(run.config, manifest, splits, progress=progress)
            except Exception:
                run.take_back()
                raise
            refuse_other_features(run.path, ready.sha256)
            run.go_on()
            keep_reviews(run.path, manifest.reviewed)
            _settle_scaling(run, ready, progress)
            frame = RunFrame(run, ready, progress)
            try:
                yield frame
            except BaseException:
                with suppress(Exception):  # what stopped the run is said, not what came of it
                    frame.close()
                raise
            frame.close()
