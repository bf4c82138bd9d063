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
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from ..checksums import derived, is_current
from ..config import schema as settings
from ..config.schema import Config
from ..errors import RunError, reading
from ..evaluation.names import METRIC_NAMES
from ..files import replacing, write_json
from ..self_training.closing import Gains, gains_in_words, gains_of
from ..self_training.final_student import taught_round
from ..self_training.frame import Ending, RunFrame, RunResult, run_frame
from ..self_training.integrity import check_run
from ..self_training.model_dir import TENSORS, find_model
from ..self_training.rounds import warm_start
from ..self_training.run_dir import Run
from ..self_training.soft_labels import SoftLabels, soft_labels_of
from ..self_training.state import RoundState
from ..shapes import read_shaped
from ..training.dataset import Dataset
from ..training.rows import rows_to_train
from ..training.students import STUDENTS, learned_start
from .reopen import reopen, result_of

TEACHER = "teacher.npz"  # in the teacher's run folder


def distill(
    teacher: str | Path, config: Config, *, resume: bool = False, progress: bool = True
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
    config, manifest, splits = rows_to_train(config)
    Run.open(teacher).bind_manifest(manifest.sha256)
    labels = soft_labels(teacher, [f"data.manifest={config.data.manifest}"])
    with run_frame(config, manifest, splits, resume=resume, progress=progress) as frame:
        _bind_teacher(frame.run, teacher)
        dataset, config = frame.ready.dataset, frame.run.config
        alone, taught = _two_rounds(dataset, config, labels, frame)
        gains = gains_of(dataset, config, alone, taught)
        return frame.finish(Ending(
            alone, taught, 1, "max_rounds", _sentence(config, gains, str(teacher)), gains,
            notes=[f"data settings, seed and folds are those of the teacher {teacher}",
                   *(taught.pseudo_labels.notes if taught.pseudo_labels else [])],
            facts={"teacher": str(teacher)},
        ))  # fmt: skip


def _student_config(teacher: str | Path, config: Config) -> Config:
    """Returns the student's settings on the teacher's data, splits and folds."""
    run = Run.open(teacher)
    result_of(run)
    check_run(teacher)
    config = settings.without_recipe(config, "semi distill")
    if not STUDENTS[config.model.kind].by_steps:
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
    data = copy.deepcopy(run.config.data)
    if os.path.exists(config.data.manifest):  # where the data are now: moved, perhaps
        data.manifest, data.audio_root = config.data.manifest, config.data.audio_root
    config.data, config.seed = data, run.config.seed
    config.train.folds = run.config.train.folds
    kind, teacher_kind = config.task.kind, run.config.task.kind
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
    before = read_shaped(run.path / "teacher.json", {"teacher": str, "sha256": str})
    if before is not None and before["sha256"] != sha256:
        raise RunError(
            f"{run.path} was begun with another teacher ({before['teacher']}); go on with that "
            "one, or choose another name=..."
        )
    write_json(run.path / "teacher.json", {"teacher": str(teacher), "sha256": sha256})


def _two_rounds(
    dataset: Dataset, config: Config, labels: SoftLabels, frame: RunFrame
) -> tuple[RoundState, RoundState]:
    """Returns the student on gold alone and the taught one; finished ones are read back."""
    recorder = frame.record(config)
    recorder.rule = "distill"
    learned = recorder.load_pretrained()
    if learned is None:
        learned = learned_start(dataset, config, frame.on_step(-1))
        recorder.save_pretrained(learned)
    alone = recorder.load(0)
    if alone is None:
        alone = warm_start(dataset, config, learned, frame.on_step(0))
        recorder.save(alone)
    frame.bars.round(alone)
    taught = recorder.load(1)
    if taught is None:
        taught = taught_round(dataset, labels, config, learned, frame.on_step(1))
        taught.verdict = (
            f"taught: out-of-fold {config.rounds.metric} {taught.metric:.3f}, on gold alone "
            f"{alone.metric:.3f}"
        )
        recorder.save(taught)
    frame.bars.round(taught)
    return alone, taught


def _sentence(config: Config, gains: Gains, teacher: str) -> str:
    """Returns what its teacher brought, against the same student on gold alone; and the teacher."""
    metric = config.rounds.metric
    name, result = METRIC_NAMES[metric], result_of(Run.open(teacher))
    sentence = (
        f"The student taught by {teacher} ships, against the same student on gold alone: "
        f"{name} {gains_in_words(gains)}"
    )
    before = Run.open(teacher).config.rounds.metric
    if result.get("final") is not None and before == metric:
        sentence += f"; the teacher has {100 * result['final']:.1f} out-of-fold"
    return f"{sentence}."


def soft_labels(path: str | Path, places: Sequence[str] = ()) -> SoftLabels:
    """Returns what a finished run says of its training rows; read back where it was stored."""
    kept = Path(path, TEACHER)
    if is_current(kept):
        with (
            reading(kept, "what a teacher said", "delete it, and it is made again"),
            np.load(kept, allow_pickle=False) as held,
        ):
            arrays = {k: held[k] for k in held.files}
        return SoftLabels(**arrays | {"classes": arrays["classes"].tolist()})
    done = reopen(path, places)
    labels = soft_labels_of(done.dataset, done.state)
    with (
        suppress(RunError, OSError),  # where it cannot be kept it is made again
        derived(kept),
        replacing(kept) as temporary,
        open(temporary, "wb") as target,
    ):
        np.savez(target, **{k: v for k, v in vars(labels).items() if v is not None})
    return labels
