"""A finished run opened again with all it was made of: its data, its outputs and its model."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..checksums import derived, is_current
from ..errors import RunError
from ..evaluation.run_json import RESULT, read_result
from ..files import ANEW, read_table
from ..self_training.checkpoints import read_round
from ..self_training.checksum_chain import is_finished
from ..self_training.integrity import check_run, inspect_folder, refuse
from ..self_training.model_dir import Model, load_model
from ..self_training.prepare import Prepared, load_dataset
from ..self_training.resumed import refuse_other_sides
from ..self_training.run_dir import Run
from ..self_training.state import RoundState
from ..training.dataset import Dataset
from .ensemble_folder import ENSEMBLE, is_ensemble, read_ensemble
from .model_answers import model_answers
from .predictions import ROLE_OF, Predictions, read_external, read_predictions, write_predictions

PROBS = "probs.parquet"  # in a run or an ensemble: what it says about every row


@dataclass
class Finished:
    """What a run was made of, on the CPU."""

    run: Run
    ready: Prepared
    state: RoundState  # the round that ships, with the models of all chains
    model: Model

    @property
    def dataset(self) -> Dataset:
        """The tensors of the run."""
        return self.ready.dataset


def result_of(run: Run) -> dict:
    """Returns result.json, or raises RunError where the run is not finished."""
    result = read_result(run.path)
    if result is None or not is_finished(run.path):
        raise RunError(f"{run.path} is an unfinished run; go on with semi train ... --resume")
    if result["best_round"] not in run.rounds():
        raise RunError(
            f"{run.path / RESULT} says that round {result['best_round']} ships, which is not "
            f"there; {ANEW}"
        )
    return result


def reopen(path: str | Path, places: Sequence[str] = ()) -> Finished:
    """Returns a finished run with its features; reads the store, extracts what it lacks."""
    run = Run.open(path, places)
    run.need_manifest()
    result, config = result_of(run), run.config
    config.device = "cpu"
    ready = load_dataset(config)
    run.bind_manifest(ready.manifest.sha256)
    refuse_other_sides(run.path, ready.manifest, ready.drawn)
    return Finished(run, ready, read_round(run.round_dir(result["best_round"]), ready.dataset),
                    load_model(path))  # fmt: skip


@torch.no_grad()
def say(done: Finished) -> Predictions:
    """Returns the probabilities of every row: out-of-fold on gold, of the model elsewhere."""
    dataset, model = done.dataset, done.model
    outputs = model_answers(model, dataset)
    probs = outputs.probs.double()
    probs[dataset.gold] = done.state.outputs.oof.double()
    silent = ~dataset.present.any(1)
    probs[silent] = float("nan")
    task, affect = done.run.config.task, None
    if outputs.affect is not None and done.state.outputs.affect is not None:
        affect = outputs.affect.double()
        affect[dataset.gold] = done.state.outputs.affect.oof.double()
        affect[silent] = float("nan")
    role = done.ready.drawn.role
    hidden = ~np.isin(role, tuple(ROLE_OF.values()))  # a label of the pool is told nobody
    several, truth = _numbers(dataset.multi), _numbers(dataset.affect)
    return Predictions(
        name=done.run.path.name,
        ids=dataset.ids,
        # what folds of valence and arousal are drawn by is no class
        classes=[] if task.kind == "affect" else dataset.classes,
        probs=probs.numpy()[:, :0] if task.kind == "affect" else probs.numpy(),
        role=role,
        label=np.where(hidden, -1, dataset.label.numpy()),
        group=dataset.group,
        fold=done.ready.drawn.fold,
        manifest=done.ready.manifest.sha256,
        kind=task.kind,
        several=None if several is None else np.where(hidden[:, None], np.nan, several),
        affect=_numbers(affect),
        affect_truth=None if truth is None else np.where(hidden[:, None], np.nan, truth),
    )


def _numbers(value: torch.Tensor | None) -> np.ndarray | None:
    return None if value is None else value.double().numpy()


def predictions_of(path: str | Path, places: Sequence[str] = ()) -> Predictions:
    """Returns what a finished run or an ensemble says; computed once, kept in its folder.

    `places` are where the run's data are now, as of `reopen`.
    """
    path = Path(path)
    kept = path / PROBS
    if is_ensemble(path):
        refuse(path, inspect_folder(path).problems)
        ensemble = read_ensemble(path)
        answers = read_predictions(
            kept, path.name, ensemble["manifest"], ensemble.get("kind", "single")
        )
        if ensemble.get("classes", answers.classes) != answers.classes:
            raise RunError(f"{kept} has other classes than {path / ENSEMBLE}; {ANEW}")
        return answers
    run = Run.open(path)
    result_of(run)
    check_run(path)
    if is_current(kept):
        kind, sha256 = run.config.task.kind, run.manifest_sha256()
        with suppress(KeyError):  # written before runs of every kind were: made again
            return Predictions.from_table(path.name, read_table(kept), sha256, kind)
    answers = say(reopen(path, places))
    with suppress(RunError, OSError), derived(kept):  # where it cannot be kept it is made again
        write_predictions(kept, answers)
    return answers


def members_of(paths: list[str]) -> list[Predictions]:
    """Returns the answers of runs, ensembles and files of probabilities; a run must come first."""
    if Path(paths[0]).is_file():
        raise RunError(f"{paths[0]} is a file; name a run first, files of probabilities after it")
    first = predictions_of(paths[0])
    members = [first]
    for path in paths[1:]:
        members.append(read_external(path, first) if Path(path).is_file() else predictions_of(path))
    names: dict[str, int] = {}
    for member, path in zip(members, paths, strict=True):  # two folders may share their last name
        names[member.name] = names.get(member.name, 0) + 1
        if names[member.name] > 1:
            member.name = str(path)
    return members
