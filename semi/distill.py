"""`semi distill`: a smaller model learns gold and what a finished run's model says of all rows.

Round 0 of the run is the student on gold alone, round 1 the student that was taught: the second is
worth the trouble only as far as it beats the first. Cross-entropy to the flattened teacher has the
gradient of the KL divergence at student temperature 1 (https://arxiv.org/abs/1503.02531 flattens
both sides); the calibration afterwards undoes the flatness.

Letters: G chains, n gold rows, P pool rows, C classes.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pseudo_label.pool import CHOSEN, UNCERTAIN
from pseudo_label.selection import cap_mass

from . import config as settings
from .comparison import FEW
from .data.manifest import load_manifest
from .data.splits import make_splits
from .errors import RunError
from .evaluation import paired_bootstrap
from .files import read_json, write_json, write_table
from .finished import refuse_other_tasks, result_of
from .intervals import COUNT_METRICS
from .model_dir import TENSORS, Model, find_model, save_model
from .problem import Problem
from .progress import RoundProgress
from .recorder import RunRecorder
from .report import write_report
from .round_report import shipped_answer
from .rounds import Picked, RoundState, learned_start, trained, warm_start
from .run import Run
from .self_training import NAMES, Prepared, RunResult, prepare, splits_table
from .self_training import _follow as follow
from .show import show_round
from .teacher import SoftLabels, soft_labels
from .tracking import open_tracker
from .training import OnStep


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
    refuse_other_tasks(config, f"the student {config.name}")
    if config.threads:
        torch.set_num_threads(config.threads)
    manifest = load_manifest(config.data.manifest, config.data)
    Run.open(teacher).bind_manifest(manifest.sha256)
    labels = soft_labels(teacher)
    splits = make_splits(manifest, config.data, folds=config.train.folds, seed=config.seed)
    with Run.create(config, resume=resume) as run:
        run.bind_manifest(manifest.sha256)
        _bind_teacher(run, teacher)
        ready = prepare(config, manifest, splits, progress=progress)
        write_table(run.path / "splits.csv", splits_table(manifest, splits))
        ready.extraction.write_quarantine(run.path / "quarantine.csv")
        tracker = open_tracker(run.path / "tb", enabled=config.tracking)
        bars = RoundProgress(config, show=progress)
        recorder = RunRecorder(
            run, ready.problem, _told(config),
            on_record=lambda state, record: show_round(
                tracker, ready.problem, state, record, manifest.table
            ),
        )  # fmt: skip
        try:
            alone, taught = _two_rounds(
                ready.problem, config, labels, recorder, bars,
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
    config = copy.deepcopy(config)
    config.data, config.seed = copy.deepcopy(run.config.data), run.config.seed
    config.train.folds = run.config.train.folds
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


def _told(config: Any) -> Any:
    """Returns what the records of the rounds read of the settings; nothing was selected here."""
    told = {k: getattr(config, k) for k in ("seed", "rounds", "task", "vote") if hasattr(config, k)}
    return SimpleNamespace(select=SimpleNamespace(rule="distill"), **told)


def _two_rounds(
    problem: Problem, config: Any, labels: SoftLabels, recorder: RunRecorder, bars: RoundProgress,
    on_step: Callable[[int], OnStep],
) -> tuple[RoundState, RoundState]:  # fmt: skip
    """Returns the student on gold alone and the taught one; finished ones are read back."""
    learned = recorder.load_pretrained()
    if learned is None:
        wanted = config.contrast.pretrain_steps > 0 and config.contrast.any
        learned = learned_start(problem, config, on_step(-1)) if wanted else {}
        recorder.save_pretrained(learned)
    alone = recorder.load(0)
    if alone is None:
        alone = warm_start(problem, config, learned, on_step(0))
        recorder.save(alone)
    bars.round(alone)
    taught = recorder.load(1)
    if taught is None:
        lesson, picked, target = lessons(problem, labels, config)
        taught = trained(lesson, config, learned, 1, on_step(1), picked, target, 1.0)
        taught.verdict = (
            f"taught: out-of-fold {config.rounds.metric} {taught.metric:.3f}, on gold alone "
            f"{alone.metric:.3f}"
        )
        recorder.save(taught)
    bars.round(taught)
    return alone, taught


def lessons(problem: Problem, labels: SoftLabels, config: Any) -> tuple[Problem, Picked, Tensor]:
    """Returns the problem with mixed gold targets, the pool as picked, and its (G, P, C) targets.

    Where student and teacher have the same folds, each chain of the student learns pool labels
    from the teacher's chain that held out the same gold; so its out-of-fold scores stay honest.
    """
    if labels.classes != problem.classes:
        raise RunError(
            f"the teacher knows {', '.join(labels.classes)}, the student is to learn "
            f"{', '.join(problem.classes)}; they must have the same classes"
        )
    sharp, device, notes = config.distill, problem.device, []
    gold = _rows_of(problem.ids[problem.gold.cpu().numpy()], labels.gold_ids, labels.gold)
    given = problem.target[problem.gold].cpu().double().numpy()
    mixed = sharp.alpha * given + (1 - sharp.alpha) * soften(gold, sharp.temperature)
    mixed = np.where(np.isnan(mixed).any(1)[:, None], given, mixed)
    target = problem.target.clone()
    target[problem.gold] = torch.from_numpy(mixed).to(target)

    chains = problem.folds + 1
    fold = _rows_of(problem.ids[problem.gold.cpu().numpy()], labels.gold_ids, labels.fold[:, None])
    known = ~np.isnan(fold[:, 0])
    same = len(labels.pool) == chains and bool(
        (fold[known, 0] == problem.fold.cpu().numpy()[known]).all()
    )
    if not same:
        notes.append(
            "student and teacher have different folds: out-of-fold scores of the student are "
            "optimistic, its teacher saw the rows held out; test scores are not touched"
        )
    ids = problem.ids[problem.pool.cpu().numpy()]
    sources = range(chains) if same else [len(labels.pool) - 1] * chains
    pool = np.stack([_rows_of(ids, labels.pool_ids, labels.pool[k]) for k in sources])  # (G, P, C)
    said = np.asarray(np.isfinite(pool).all(axis=2))
    flat = np.where(said[..., None], soften(pool, sharp.temperature), 1 / pool.shape[2])
    plain = np.where(said[..., None], pool, 1 / pool.shape[2])
    chosen = torch.from_numpy(said).to(device) & (sharp.pool_weight > 0)
    weight = chosen.float() * sharp.pool_weight
    for k in range(chains):
        mass = float((problem.fold != k).sum())
        weight[k] = cap_mass(weight[k], mass, config.select.mass_cap)
    probs = torch.from_numpy(plain[-1]).float().to(device)
    reason = torch.where(chosen[-1], CHOSEN, UNCERTAIN).to(torch.int8)
    picked = Picked(
        chosen=chosen,
        label=torch.from_numpy(plain.argmax(2)).to(device),
        weight=weight,
        probs=probs,
        threshold=torch.zeros(len(problem.classes), device=device),
        reason=reason,
        state=[{} for _ in range(chains)],
        notes=notes,
    )
    return replace(problem, target=target), picked, torch.from_numpy(flat).float().to(device)


def soften(probs: np.ndarray, temperature: float) -> np.ndarray:
    """Returns softmax(log p / T) over the last axis."""
    power = np.clip(probs, 1e-12, None) ** (1 / temperature)
    return power / power.sum(-1, keepdims=True)


def _rows_of(ids: np.ndarray, known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns the values (n, D) of `ids`; NaN where `known` (k,) has no such id."""
    place = {name: i for i, name in enumerate(known.tolist())}
    at = np.array([place.get(name, -1) for name in ids.tolist()], dtype=np.int64)
    if not len(values):
        return np.full((len(ids), values.shape[1]), np.nan)
    return np.where((at >= 0)[:, None], values[at].astype(np.float64), np.nan)


def _finish(
    run: Run, config: settings.Config, ready: Prepared, alone: RoundState, taught: RoundState,
    teacher: str,
) -> RunResult:  # fmt: skip
    """Writes the model, result.json and the report."""
    problem = ready.problem
    record = read_json(run.round_dir(1) / "round.json")
    sentence = _sentence(problem, config, alone, taught, teacher)
    if taught.ensemble is None:
        raise RuntimeError("the taught student has no model")
    facts = {"round": 1, "sentence": sentence, "teacher": teacher}
    save_model(
        run.path / "model",
        Model(config, problem.classes, taught.ensemble, taught.teaching.voter, problem.folds + 1,
              ready.standardizer, ready.identities, facts),
    )  # fmt: skip
    picked = record.get("notes") or []
    shared = f"data settings, seed and folds are those of the teacher {teacher}"
    write_json(run.path / "result.json", {
        "stopped": "max_rounds", "rounds": 1, "best_round": 1, "sentence": sentence,
        "notes": [*ready.notes, shared, *picked], "leaks": ready.leaks,
        "quarantined": len(ready.extraction.quarantine), "gold_rows": len(problem.gold),
        "pool_rows": len(problem.pool), "warm_start": alone.metric, "final": taught.metric,
        "teacher": teacher,
    })  # fmt: skip
    write_report(run.path)
    metrics = {k: record[k] for k in ("metrics_oof", "metrics_dev", "metrics_test")}
    return RunResult(run.path, "max_rounds", 1, 1, metrics, sentence)


def _sentence(
    problem: Problem, config: Any, alone: RoundState, taught: RoundState, teacher: str
) -> str:
    """Returns what teaching brought, against the same student on gold alone; and the teacher."""
    metric = config.rounds.metric
    name, own = NAMES.get(metric, metric), result_of(Run.open(teacher))
    told = (
        f"The student taught by {teacher} ships: out-of-fold {name} {100 * taught.metric:.1f} "
        f"against {100 * alone.metric:.1f} of the same student on gold alone (standard error "
        f"{100 * alone.se:.1f})"
    )
    before = Run.open(teacher).config.rounds.metric
    if own.get("final") is not None and before == metric:
        told += f" and {100 * own['final']:.1f} of the teacher"
    rows = problem.test[problem.label[problem.test] >= 0]
    mine, base = shipped_answer(problem, taught, rows), shipped_answer(problem, alone, rows)
    if mine is None or base is None or metric not in COUNT_METRICS:
        return told + "."
    at = rows.cpu().numpy()
    gap = paired_bootstrap(
        mine.probs.cpu().numpy(), base.probs.cpu().numpy(), problem.label[rows].cpu().numpy(),
        problem.group[at], metric, seed=config.seed,
    )  # fmt: skip
    unproven = "" if gap.low > 0 or gap.high < 0 else ", so no difference is shown"
    unproven = ", too few to show anything" if gap.units < FEW else unproven
    return told + (
        f"; on {len(rows)} test rows the difference to gold alone is {100 * gap.value:+.1f} "
        f"[{100 * gap.low:+.1f}, {100 * gap.high:+.1f}] over {gap.units} {gap.unit}{unproven}."
    )
