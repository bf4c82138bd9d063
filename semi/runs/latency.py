"""What one utterance costs: time of the model alone, and from the file to the label.

Runs are timed by turns, so that whatever else the machine does hits all of them alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..errors import SemiError
from ..features.tensors import Vectors
from ..self_training.model_dir import Model, load_model, same_encoder
from ..training.teacher import answer

if TYPE_CHECKING:
    import pandas as pd

    from models.encoders import Encoder

    from ..features.sources import RowSource

REPEATS = 15
UTTERANCES = 5
WARM = 2  # calls that are not counted


@dataclass
class Cost:
    """Size and speed of a run's model at batch 1; None where it could not be measured."""

    head_parameters: int  # of all chains and members together
    encoder_parameters: int | None  # None where an encoder reads stored arrays
    model_ms: float  # features -> label, median
    end_to_end_ms: float | None  # file and text -> label, median over utterances; encoders warm
    note: str = ""

    @property
    def parameters(self) -> int | None:
        """Parameters that a prediction runs through."""
        extra = self.encoder_parameters
        return None if extra is None else self.head_parameters + extra


def threads() -> int:
    """Returns the CPU threads PyTorch computes with."""
    return torch.get_num_threads()


def measure(
    runs: list[str], tables: Sequence[pd.DataFrame | None], *, repeats: int = REPEATS
) -> list[Cost]:
    """Returns the cost of each run, timed by turns on the CPU.

    Args:
        runs: folders of finished runs.
        tables: per run the manifest rows to go through from the file on; None = model alone.
        repeats: rounds of turns.
    """
    models = [load_model(run) for run in runs]
    alone = [_alone(model) for model in models]
    model_ms = _by_turns(alone, repeats)
    whole, notes, sizes = [], [], []
    for model, table in zip(models, tables, strict=True):
        call, size, note = _end_to_end(model, table)
        whole.append(call)
        sizes.append(size)
        notes.append(note)
    end_ms = _by_turns(whole, max(3, repeats // 3))
    return [
        Cost(sum(p.numel() for p in m.ensemble.params.values()), size, a or 0.0, e, note)
        for m, size, a, e, note in zip(models, sizes, model_ms, end_ms, notes, strict=True)
    ]


def _by_turns(calls: Sequence[Callable[[], int] | None], repeats: int) -> list[float | None]:
    """Returns the median milliseconds per utterance; a call returns how many it did."""
    times: list[list[float]] = [[] for _ in calls]
    for turn in range(WARM + repeats):
        for measured, call in zip(times, calls, strict=True):
            if call is None:
                continue
            begin = time.perf_counter()
            count = call()
            if turn >= WARM:
                measured.append(1000 * (time.perf_counter() - begin) / count)
    return [float(np.median(measured)) if measured else None for measured in times]


def _alone(model: Model) -> Callable[[], int]:
    """Returns a call that labels one row of features and returns 1."""
    dims, frames = model.ensemble.dims, model.config.encoders.keeps_frames
    shape = (1, model.config.features.max_frames) if frames else (1,)  # as long as they may be
    values = {m: torch.zeros(*shape, d) for m, d in dims.items()}
    return partial(_label_features, model, values, torch.ones(1, len(dims), dtype=torch.bool))


def _label_features(model: Model, values: Mapping[str, Vectors], present: torch.Tensor) -> int:
    """Labels standardised rows and returns how many they are."""
    answer(model.ensemble, model.voter, values, present, model.chains)
    return len(present)


@dataclass
class _Pipeline:
    """Everything between the files of some utterances and their labels."""

    model: Model
    encoders: dict[str, Encoder]
    sources: dict[str, RowSource]  # what each encoder reads of the rows
    speakers: list[str] | None  # of the rows

    def speaker(self, row: int) -> list[str] | None:
        """Returns the speaker of a row, as the standardizer takes it."""
        return None if self.speakers is None else [self.speakers[row]]


def _end_to_end(
    model: Model, table: pd.DataFrame | None
) -> tuple[Callable[[], int] | None, int | None, str]:
    """Returns a call that labels the table's rows one by one, encoder size, and why if neither."""
    stored = [name for name in model.identities if _stored(model, name)]
    if stored:
        return None, None, f"{', '.join(stored)} is read from stored arrays: no encoder to time"
    if table is None or not len(table):
        return None, None, "no utterance to time"
    try:
        pipeline = _pipeline(model, table)
    except SemiError as error:
        return None, None, f"not timed from the file on: {error}"
    call = partial(_label_rows, pipeline, len(table))
    try:
        call()  # weights are read at the first call
    except (SemiError, OSError, RuntimeError) as error:
        return None, None, f"not timed from the file on: {' '.join(str(error).split())[:200]}"
    return call, sum(_size(encoder) for encoder in pipeline.encoders.values()), ""


def _pipeline(model: Model, table: pd.DataFrame) -> _Pipeline:
    """Returns the model behind its own encoders; SemiError where they are not the same or gone."""
    from ..features.extract import open_encoders
    from ..features.keys import FileKeys
    from ..features.sources import Limits, audio_source, text_source

    opened = open_encoders(model.config)
    encoders = {name: e for name, e in opened.items() if name in model.identities}
    for name, encoder in encoders.items():
        same_encoder(name, model.identities[name], encoder.identity())
    data = model.config.data
    limits = Limits(data.min_seconds, data.max_seconds)
    sources = {
        name: text_source(table)
        if e.modality == "text"
        else audio_source(table, FileKeys(), limits)
        for name, e in encoders.items()
    }
    speakers = table["speaker"].tolist() if "speaker" in table else None
    return _Pipeline(model, encoders, sources, speakers)


def _label_rows(pipeline: _Pipeline, rows: int) -> int:
    """Labels the first rows one by one, from the file on, and returns how many they are."""
    label = _label_frames if pipeline.model.config.encoders.keeps_frames else _label_vectors
    for row in range(rows):
        label(pipeline, row)
    return rows


def _label_vectors(pipeline: _Pipeline, row: int) -> None:
    """Labels one row whose modalities are one vector each."""
    from ..features.table import by_modality
    from ..features.tensors import Features

    model, dims = pipeline.model, pipeline.model.ensemble.dims
    values: dict[str, torch.Tensor] = {}
    for name, encoder in pipeline.encoders.items():
        source = pipeline.sources[name]
        if source.keys[row] != b"":
            values |= by_modality(name, encoder, encoder.encode([source.load(row)]))
    present = torch.tensor([[m in values for m in dims]])
    width = {m: len(profile.mean) for m, profile in model.standardizer.profiles.items()}
    full = {m: values.get(m, torch.zeros(1, width[m])) for m in dims}
    ready = model.standardizer.apply(Features(full, present, list(dims)), pipeline.speaker(row))
    _label_features(model, ready.values, ready.present)


def _label_frames(pipeline: _Pipeline, row: int) -> None:
    """Labels one row whose modalities are sequences of frames."""
    from ..features.encode import wants_frames
    from ..features.sequences import sequences
    from ..features.table import by_modality
    from ..features.tensors import Frames

    model = pipeline.model
    packed: dict[str, Frames] = {}
    for name, encoder in pipeline.encoders.items():
        source = pipeline.sources[name]
        present = source.keys[row] != b""
        rows = torch.zeros(0, model.ensemble.dims[name])
        if present:
            batch = [source.load(row)]
            frames: Any = encoder  # `encode_frames` is no part of every encoder
            rows = (
                frames.encode_frames(batch)[0] if wants_frames(encoder) else encoder.encode(batch)
            )
        offsets = torch.tensor([0, len(rows)])
        for view, value in by_modality(name, encoder, rows.float()).items():
            packed[view] = Frames(value, offsets, torch.tensor([present]))
    scaled = model.standardizer.apply_frames(packed, pipeline.speaker(row))
    ready = sequences(scaled, model.config.features.max_frames)
    _label_features(model, ready.values, ready.present)


def _stored(model: Model, name: str) -> bool:
    sections = model.config.encoders
    return name in sections.extra or getattr(sections, name).model == "precomputed"


def _size(encoder: Any) -> int:
    """Returns the parameters of an encoder's network; 0 where it has none (fixed formulas)."""
    counted: set[int] = set()
    total = 0
    for value in _inside(encoder, 3):
        if id(value) not in counted:
            counted.add(id(value))
            total += sum(p.numel() for p in value.parameters())
    return total


def _inside(thing: Any, depth: int) -> list[torch.nn.Module]:
    if isinstance(thing, torch.nn.Module):
        return [thing]
    if not depth or not hasattr(thing, "__dict__"):
        return []
    return [m for v in vars(thing).values() for m in _inside(v, depth - 1)]


def timed_rows(table: pd.DataFrame, rows: np.ndarray) -> pd.DataFrame | None:
    """Returns up to a handful of the rows whose files are there, evenly spread; None if none."""
    readable = [r for r in rows if _there(table, r)]
    if not readable:
        return None
    pick = np.unique(np.linspace(0, len(readable) - 1, UTTERANCES).round().astype(int))
    return table.iloc[[readable[i] for i in pick]].reset_index(drop=True)


def _there(table: pd.DataFrame, row: int) -> bool:
    audio, text = table["audio"].iloc[row], table["text"].iloc[row]
    if isinstance(audio, str) and audio.strip():
        return Path(audio).is_file()
    return isinstance(text, str) and bool(text.strip())
