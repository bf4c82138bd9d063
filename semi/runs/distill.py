"""`semi distill`: a smaller model learns gold and what a finished run's model says of all rows.

Round 0 of the run is the student on gold alone, round 1 the student that was taught: the second is
worth the trouble only as far as it beats the first. The loss is alpha CE(label) + (1 - alpha) T^2
KL(teacher at T || student at T) on gold rows and the second term alone on the pool
(https://arxiv.org/abs/1503.02531). Several labels a row are learned class by class in the same way;
valence and arousal as numbers, the teacher's beside the given ones.

Letters: G chains, n gold rows, P pool rows, C classes.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import Tensor

from models.fusion.config import CLOSED_FORM

from ..config import schema as settings
from ..config.task import task_of
from ..errors import RunError
from ..evaluation.bootstrap import Interval, paired_bootstrap
from ..evaluation.html_report import write_report
from ..evaluation.multitask import affect_sums, multi_sums, paired_intervals
from ..evaluation.tensorboard import open_tracker
from ..files import read_json, replacing, write_json, write_table
from ..self_training.checkpoints import RunRecorder
from ..self_training.final_student import taught_round, told
from ..self_training.model_dir import TENSORS, Model, find_model, save_model
from ..self_training.prepare import Prepared, prepare, splits_table
from ..self_training.progress import RoundProgress
from ..self_training.record import shipped_prediction
from ..self_training.rounds import warm_start
from ..self_training.run_dir import Run
from ..self_training.soft_labels import SoftLabels, words_of
from ..self_training.state import RoundState
from ..self_training.targets import read_data
from ..self_training.teacher import Prediction
from ..self_training.tensorboard_round import show_round
from ..self_training.train import NAMES, RunResult
from ..self_training.train import _follow as follow
from ..threads import limited_threads
from ..training.dataset import Dataset
from ..training.fit import OnStep
from ..training.initialisation import learned_start
from .comparison import FEW
from .reopen import reopen, result_of

TEACHER = "teacher.npz"  # in the teacher's run folder


def distill(
    teacher: str | Path, config: settings.Config, *, resume: bool = False, progress: bool = True
) -> RunResult:
    """Trains a student of a finished run into `<runs_dir>/<name>/`, a run like any other.

    Args:
        teacher: the run's folder.
        config: the student's; its data settings, seed and folds become the teacher's.
        resume: go on with the run of that name.
        progress: bars on stderr.
    """
    config = _student_config(teacher, config)
    settings.check(config)
    manifest, splits = read_data(config)
    Run.open(teacher).bind_manifest(manifest.sha256)
    labels = soft_labels(teacher)
    with limited_threads(config.threads), Run.create(config, resume=resume) as run:
        run.bind_manifest(manifest.sha256)
        _bind_teacher(run, teacher)
        ready = prepare(config, manifest, splits, progress=progress)
        write_table(run.path / "splits.csv", splits_table(manifest, splits))
        ready.extraction.write_quarantine(run.path / "quarantine.csv")
        tracker = open_tracker(run.path / "tb", enabled=config.tracking)
        bars = RoundProgress(config, show=progress)
        recorder = RunRecorder(
            run, ready.dataset, told(config),
            on_record=lambda state, record: show_round(
                tracker, ready.dataset, state, record, manifest.table
            ),
        )  # fmt: skip
        try:
            alone, taught = _two_rounds(
                ready.dataset, config, labels, recorder, bars,
                lambda number: follow(tracker, bars, number),
            )  # fmt: skip
        finally:
            bars.close()
            tracker.close()
        return _finish(run, config, ready, alone, taught, str(teacher))


def _student_config(teacher: str | Path, config: settings.Config) -> settings.Config:
    """Returns the student's settings on the teacher's data, splits and folds."""
    run = Run.open(teacher)
    result_of(run)
    settings.refuse_recipe(config, "semi distill")
    if config.model.kind in CLOSED_FORM:
        raise RunError(
            f"a student is taught by steps, which model.kind={config.model.kind} has none of; take "
            "a stepped kind, such as concat or contrastive"
        )
    if config.distill.final:
        raise RunError(
            "distill.final ends semi train with a student; semi distill makes one anyway, so leave "
            "it out"
        )
    config = copy.deepcopy(config)
    config.data, config.seed = copy.deepcopy(run.config.data), run.config.seed
    config.train.folds = run.config.train.folds
    kind, teacher_kind = task_of(config).kind, task_of(run.config).kind
    if kind != teacher_kind:
        raise RunError(
            f"{teacher} has task.kind={teacher_kind}, the student {config.name} {kind}; a student "
            f"learns what its teacher says, so set task.kind={teacher_kind}"
        )
    config.distill.teacher = str(teacher)
    if Path(config.path).resolve() == run.path.resolve():
        raise RunError(f"the student would be written over its teacher {run.path}; set name=...")
    return config


def _bind_teacher(run: Run, teacher: str | Path) -> None:
    """Writes down which teacher it is, or refuses to go on with another one."""
    path = find_model(teacher) / TENSORS
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    before = read_json(run.path / "teacher.json")
    if before is not None and before["sha256"] != sha256:
        raise RunError(
            f"{run.path} was begun with another teacher ({before['teacher']}); go on with that "
            "one, or choose another name=..."
        )
    write_json(run.path / "teacher.json", {"teacher": str(teacher), "sha256": sha256})


def _two_rounds(
    dataset: Dataset, config: settings.Config, labels: SoftLabels, recorder: RunRecorder,
    bars: RoundProgress, on_step: Callable[[int], OnStep],
) -> tuple[RoundState, RoundState]:  # fmt: skip
    """Returns the student on gold alone and the taught one; finished ones are read back."""
    learned = recorder.load_pretrained()
    if learned is None:
        learned = learned_start(dataset, config, on_step(-1))
        recorder.save_pretrained(learned)
    alone = recorder.load(0)
    if alone is None:
        alone = warm_start(dataset, config, learned, on_step(0))
        recorder.save(alone)
    bars.round(alone)
    taught = recorder.load(1)
    if taught is None:
        taught = taught_round(dataset, labels, config, learned, on_step(1))
        taught.verdict = (
            f"taught: out-of-fold {config.rounds.metric} {taught.metric:.3f}, on gold alone "
            f"{alone.metric:.3f}"
        )
        recorder.save(taught)
    bars.round(taught)
    return alone, taught


def _finish(
    run: Run, config: settings.Config, ready: Prepared, alone: RoundState, taught: RoundState,
    teacher: str,
) -> RunResult:  # fmt: skip
    """Writes the model, result.json and the report."""
    dataset = ready.dataset
    record = read_json(run.round_dir(1) / "round.json")
    sentence = _sentence(dataset, config, alone, taught, teacher)
    if taught.ensemble is None:
        raise RuntimeError("the taught student has no model")
    facts = {"round": 1, "sentence": sentence, "teacher": teacher}
    save_model(
        run.path / "model",
        Model(config, dataset.classes, taught.ensemble, taught.outputs.voter, dataset.folds + 1,
              ready.standardizer, ready.identities, facts),
    )  # fmt: skip
    pseudo_labels = record.get("notes") or []
    shared = f"data settings, seed and folds are those of the teacher {teacher}"
    write_json(run.path / "result.json", {
        "stopped": "max_rounds", "rounds": 1, "best_round": 1, "sentence": sentence,
        "notes": [*ready.notes, shared, *pseudo_labels], "leaks": ready.leaks,
        "quarantined": len(ready.extraction.quarantine), "gold_rows": len(dataset.gold),
        "pool_rows": len(dataset.pool), "warm_start": alone.metric, "final": taught.metric,
        "teacher": teacher,
    })  # fmt: skip
    write_report(run.path)
    metrics = {k: record[k] for k in ("metrics_oof", "metrics_dev", "metrics_test")}
    return RunResult(run.path, "max_rounds", 1, 1, metrics, sentence)


def _sentence(
    dataset: Dataset, config: settings.Config, alone: RoundState, taught: RoundState, teacher: str
) -> str:
    """Returns what its teacher brought, against the same student on gold alone; and the teacher."""
    metric = config.rounds.metric
    name, result = NAMES.get(metric, metric), result_of(Run.open(teacher))
    sentence = (
        f"The student taught by {teacher} ships: out-of-fold {name} {100 * taught.metric:.1f} "
        f"against {100 * alone.metric:.1f} of the same student on gold alone (standard error "
        f"{100 * alone.se:.1f})"
    )
    before = Run.open(teacher).config.rounds.metric
    if result.get("final") is not None and before == metric:
        sentence += f" and {100 * result['final']:.1f} of the teacher"
    rows = dataset.test[dataset.label[dataset.test] >= 0]
    student, baseline = (
        shipped_prediction(dataset, taught, rows),
        shipped_prediction(dataset, alone, rows),
    )
    if student is None or baseline is None:
        return sentence + "."
    gap = _gap(dataset, config, rows, student, baseline)
    unproven = "" if gap.low > 0 or gap.high < 0 else ", so no difference is shown"
    unproven = ", too few to show anything" if gap.units < FEW else unproven
    return sentence + (
        f"; on {len(rows)} test rows the difference to gold alone is {100 * gap.value:+.1f} "
        f"[{100 * gap.low:+.1f}, {100 * gap.high:+.1f}] over {gap.units} {gap.unit}{unproven}."
    )


def _gap(
    dataset: Dataset,
    config: settings.Config,
    rows: Tensor,
    student: Prediction,
    baseline: Prediction,
) -> Interval:
    """Returns the difference of two models on rows of the dataset, in the metric of the rounds."""
    name, at = config.rounds.metric, rows.cpu().numpy()
    group, both = dataset.group[at], (student.probs.cpu().numpy(), baseline.probs.cpu().numpy())
    if name == "ccc" and dataset.affect is not None:
        truth = dataset.affect[rows].cpu().numpy()
        values = (a.affect.cpu().numpy() for a in (student, baseline) if a.affect is not None)
        sums = [affect_sums(value, truth) for value in values]
        return paired_intervals(sums[0], sums[1], group, config.seed)[name]
    if dataset.multi is not None:
        truth = dataset.multi[rows].cpu().numpy()
        sums = [multi_sums(probs, truth) for probs in both]
        return paired_intervals(sums[0], sums[1], group, config.seed)[name]
    label = dataset.label[rows].cpu().numpy()
    return paired_bootstrap(*both, label, group, name, seed=config.seed)


def soft_labels(path: str | Path) -> SoftLabels:
    """Returns what a finished run says of its training rows; read back where it was stored."""
    kept = Path(path, TEACHER)
    finished = Path(path, "result.json")
    stored = kept.is_file() and finished.is_file()
    if stored and kept.stat().st_mtime_ns >= finished.stat().st_mtime_ns:
        with np.load(kept, allow_pickle=False) as held:
            if held["gold"].ndim == 3:  # else of an earlier version
                return SoftLabels(**{k: held[k] for k in held.files if k != "classes"},
                                  classes=held["classes"].tolist())  # fmt: skip
    done = reopen(path)
    labels = words_of(done.dataset, done.outputs, done.every, alone=done.alone)
    with replacing(kept) as temporary, open(temporary, "wb") as target:
        np.savez(target, **{k: v for k, v in vars(labels).items() if v is not None})
    return labels
