"""What a recipe leaves to the data: layers and modalities first, then the student; gold decides.

What was decided is written into the run's settings before its first round, so that the run, a
resumed one and a prediction read the same encoders.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch

from ..config.recipes import with_open_layers
from ..config.schema import Config
from ..errors import RunError
from ..features.extract import open_encoders
from ..features.narrow import Layered, keep_layers
from ..features.store import FeatureStore
from ..files import ANEW, read_tensors, write_tensors
from ..training.committee import Committee
from ..training.dataset import Dataset
from ..training.views import Views
from .frame import RunFrame
from .model_selection import select_model
from .resumed import COMMITTEE
from .view_selection import select_views


def settled(frame: RunFrame) -> Config:
    """Returns the settings with the views and the student that gold prefers; tells what it did."""
    run = frame.run
    if not run.rounds() and not run.settled():  # what began with one student goes on with it
        kept = _kept_committee(run.path, frame.ready.dataset)  # of a process killed just after
        config, sentences = _with_views(frame)
        if kept is not None:
            frame.ready.dataset.committee = kept
        found = select_model(frame.ready.dataset, config)
        sentences += [found.sentence] if found.sentence else []
        if frame.ready.dataset.committee is not None:
            write_tensors(run.path / COMMITTEE, vars(frame.ready.dataset.committee))
        if sentences or found.config != run.config:
            run.settle(found.config, "\n".join(sentences))
    else:
        frame.ready.dataset.committee = _kept_committee(run.path, frame.ready.dataset)
    for sentence in run.settled().splitlines():
        frame.ready.notes.append(sentence)
        if frame.progress:
            print(sentence, file=sys.stderr, flush=True)
    return run.config


def _with_views(frame: RunFrame) -> tuple[Config, list[str]]:
    """Returns the settings with the views that stay, and what was compared; reads these views."""
    config = frame.run.config
    open_ = with_open_layers(config)
    undecided = open_ is not config
    if not undecided and config.encoders.speech.combine == "views":
        return config, []  # layers apart, as they were asked for
    found = select_views(frame.ready.dataset, config)
    config = found.config
    if found.views is None:
        return config, []
    if undecided and "speech" in found.views.parts:
        config = with_layers(config, found.views)
        whole, part = (_speech(about) for about in (open_, config))
        keep_layers(FeatureStore(config.features.store), whole, part)
    if config != frame.run.config:
        frame.read_again(config)
    frame.ready.dataset.committee = found.dataset.committee
    return config, [found.sentence] if found.sentence else []


def _kept_committee(path: Path, dataset: Dataset) -> Committee | None:
    """Returns what models that were compared say of the pool, None where none were."""
    source = path / COMMITTEE
    if not source.is_file():
        return None
    held = read_tensors(source)
    rows, probs = held.get("rows"), held.get("probs")
    wanted = (dataset.folds + 1, 0 if rows is None else len(rows), len(dataset.classes))
    if rows is None or probs is None or rows.dtype != torch.int64 or probs.shape != wanted:
        raise RunError(f"{source} does not hold what models say of these data; {ANEW}")
    return Committee(rows.to(dataset.device), probs.to(dataset.device))


def _speech(config: Config) -> Layered:
    encoder = open_encoders(config)["speech"]
    if not isinstance(encoder, Layered):
        raise RuntimeError("only an encoder of several layers leaves them open")
    return encoder


def with_layers(config: Config, views: Views) -> Config:
    """Returns the settings that name the layers of the speech encoder that `views` has."""
    layers = [int(part.rpartition(".")[2]) for part in views.parts["speech"]]
    combine = "joined" if len(layers) > 1 else "mean"
    speech = replace(config.encoders.speech, layers=layers, combine=combine)
    return replace(config, encoders=replace(config.encoders, speech=speech))
